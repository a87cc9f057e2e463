"""The key in the Authorization header."""


def presented_key(authorization: str | None) -> str | None:
    """Return the key of `Authorization: <key>` or `Bearer <key>`; None where there is none."""
    if authorization is None:
        return None
    scheme, _, rest = authorization.strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else authorization.strip()
    return key or None
