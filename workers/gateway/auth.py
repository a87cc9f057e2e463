"""Who calls: the key in the Authorization header decides, before the body is read."""

from fastapi import Request

from workers.gateway.rest_errors import ApiError
from workers.web.bearer import presented_key, same_key
from workers.web.guarded import guarded_by

DEFAULT_ACCOUNT = "default"
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def require_account(request: Request) -> str:
    """Return the account that the request's key belongs to; a 401 where there is none."""
    known = getattr(request.state, "account", None)
    if known is not None:
        return str(known)
    key = presented_key(request.headers.get("authorization"))
    if key is None:
        raise ApiError(
            401,
            "missing_authorization",
            "send your key as `Authorization: Bearer <key>`",
            headers=_CHALLENGE,
        )
    if not same_key(key, request.app.state.api_key):
        raise ApiError(401, "unauthorized", "the key is not valid", headers=_CHALLENGE)
    request.state.account = DEFAULT_ACCOUNT
    return DEFAULT_ACCOUNT


GuardedRoute = guarded_by(require_account)
