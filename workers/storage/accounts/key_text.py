"""The form of API keys and short-lived tokens, and the digest under which they are kept."""

import hashlib
import re
import secrets

_KEY = re.compile(r"ew_[A-Za-z0-9_-]{43}")
_TOKEN = re.compile(r"ewt_[A-Za-z0-9_-]{43}")


def new_key() -> str:
    """Return a fresh API key: 256 random bits behind `ew_`."""
    return f"ew_{secrets.token_urlsafe(32)}"


def new_token() -> str:
    """Return a fresh short-lived token: 256 random bits behind `ewt_`."""
    return f"ewt_{secrets.token_urlsafe(32)}"


def is_key(text: str) -> bool:
    """Tell whether a text has the form of a key; others need not be looked up."""
    return _KEY.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """Return SHA-256 in hexadecimal, under which a key or token is kept.

    Salt and a slow hash protect what people choose; 256 random bits cannot be tried out. A
    look-up by digest tells by its time nothing that a caller could use to come closer.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
