"""What the agent says when it cannot say what it should."""

from typing import Final

_UNREACHABLE: Final = "Sorry, I could not reach the language model."
_REFUSED: Final = "Sorry, the language model refused my request."
_BUSY: Final = "Sorry, the language model is busy. Please try again in a moment."
_NONSENSE: Final = "Sorry, the language model did not give a usable answer."
_SLOW: Final = "Sorry, the language model takes too long."
_NO_KEY: Final = "Sorry, the key of my language model is not available."
NOT_UNDERSTOOD: Final = "Sorry, I could not make out what you said."
_BROKEN_OFF: Final = "Sorry, the rest of my answer was lost."

_LINES: Final = {
    "credentials_unavailable": _NO_KEY,
    "timeout_connect": _UNREACHABLE,
    "disconnected": _UNREACHABLE,
    "tls": _UNREACHABLE,
    "blocked_address": _UNREACHABLE,
    "timeout_first_token": _SLOW,
    "timeout_total": _SLOW,
    "http_4xx": _REFUSED,
    "http_3xx": _REFUSED,
    "http_429": _BUSY,
    "http_5xx": _UNREACHABLE,
}


def apology(failure: str, *, begun: bool) -> str:
    """Return the line for a failure of the model; `begun`: part of the reply was said."""
    return _BROKEN_OFF if begun else _LINES.get(failure, _NONSENSE)
