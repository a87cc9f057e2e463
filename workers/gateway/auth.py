"""Who calls: the key in the Authorization header decides, before the body is read."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from schemas.account import Scope
from workers.gateway.rest_errors import ApiError
from workers.storage.accounts.key_text import is_token
from workers.storage.accounts.session_tokens import redeem_token
from workers.web.bearer import presented_key
from workers.web.callers import Caller
from workers.web.guarded import guarded_by
from workers.web.key_ring import KeyRing

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
Check = Callable[[Request], Awaitable[Caller]]


def requires(scope: Scope, *, takes_token: bool = False) -> Check:
    """Return a dependency that lets callers with this scope pass and says who they are.

    A 401 for others. With `takes_token` a short-lived token passes as well, once.
    """

    async def check(request: Request) -> Caller:
        caller = getattr(request.state, "caller", None)
        if not isinstance(caller, Caller):
            caller = await _identify(request, takes_token=takes_token)
            request.state.caller = caller
        if not caller.may(scope):
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise ApiError(
                401,
                "unauthorized",
                f"this key lacks the scope `{scope}`",
                headers={"WWW-Authenticate": challenge},
            )
        return caller

    return check


may_configure: Final = requires("configure")
may_talk: Final = requires("talk")
may_open_session: Final = requires("talk", takes_token=True)


async def require_account(request: Request) -> str:
    """Return the account of a caller who may configure it; a 401 for others."""
    return (await may_configure(request)).account


GuardedRoute = guarded_by(may_configure)


async def _identify(request: Request, *, takes_token: bool) -> Caller:
    key = presented_key(request.headers.get("authorization"))
    if key is None:
        raise ApiError(
            401,
            "missing_authorization",
            "send your key as `Authorization: Bearer <key>`",
            headers=_CHALLENGE,
        )
    if is_token(key):
        return await _redeem(request, key, takes_token=takes_token)
    ring: KeyRing = request.app.state.keys
    caller = await ring.find(key)
    if caller is None:
        raise ApiError(401, "unauthorized", "the key is not valid", headers=_CHALLENGE)
    return caller


async def _redeem(request: Request, token: str, *, takes_token: bool) -> Caller:
    if not takes_token:  # it is not used up by that
        message = "a short-lived token opens a session and nothing else"
        raise ApiError(401, "unauthorized", message, headers=_CHALLENGE)
    grant = await redeem_token(request.app.state.resources.redis, token)
    if grant is None:
        message = "the token is used up, too old or not valid"
        raise ApiError(401, "unauthorized", message, headers=_CHALLENGE)
    return Caller(grant.account, frozenset({"talk"}), grant.key_id, grant.session_s)
