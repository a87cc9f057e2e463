"""The key in the Authorization header."""

import hmac


def presented_key(authorization: str | None) -> str | None:
    """Return the key of `Authorization: <key>` or `Bearer <key>`; None where there is none."""
    if authorization is None:
        return None
    scheme, _, rest = authorization.strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else authorization.strip()
    return key or None


def same_key(presented: str, expected: str) -> bool:
    """Compare two keys in a time that does not tell how much of them agrees."""
    return hmac.compare_digest(presented.encode(), expected.encode())
