"""Short-lived tokens: what a server hands to a browser in place of its key."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, StrictInt

from schemas.closed import Closed
from workers.gateway.auth import may_talk
from workers.gateway.resources import Resources
from workers.storage.accounts.session_tokens import TokenGrant, issue_token
from workers.web.callers import Caller
from workers.web.guarded import guarded_by
from workers.web.query import IN_DIGITS

DEFAULT_EXPIRY_S: Final = 60
DEFAULT_SESSION_S: Final = 10_800

_EXPIRES_IN: Final = Field(ge=1, le=600)
_SESSION_LIMIT: Final = Field(ge=60, le=10_800)
Talker = Annotated[Caller, Depends(may_talk)]

router = APIRouter(prefix="/v1", tags=["tokens"], route_class=guarded_by(may_talk))


class TokenRequest(Closed):
    """How long a token waits to be used, and how long its session may last, in seconds."""

    expires_in_seconds: Annotated[StrictInt, _EXPIRES_IN] = DEFAULT_EXPIRY_S
    max_session_duration_seconds: Annotated[StrictInt, _SESSION_LIMIT] = DEFAULT_SESSION_S


class Token(Closed):
    """A token that opens one session until the moment it expires."""

    token: str
    expires_at: datetime


class TokenView(Closed):
    """A token that opens one session within so many seconds."""

    token: str
    expires_in_seconds: int


@router.post("/tokens", status_code=201)
async def create_token(
    caller: Talker, request: Request, response: Response, asked: TokenRequest | None = None
) -> Token:
    """Make a token that opens one session."""
    asked = asked or TokenRequest()
    expires_at = datetime.now(UTC) + timedelta(seconds=asked.expires_in_seconds)
    return Token(token=await _issue(caller, request, response, asked), expires_at=expires_at)


@router.get("/token")
async def get_token(
    caller: Talker,
    request: Request,
    response: Response,
    expires_in_seconds: Annotated[int, _EXPIRES_IN, IN_DIGITS, Query()] = DEFAULT_EXPIRY_S,
    max_session_duration_seconds: Annotated[
        int, _SESSION_LIMIT, IN_DIGITS, Query()
    ] = DEFAULT_SESSION_S,
) -> TokenView:
    """Make a token that opens one session; as `POST /v1/tokens`, for clients that know this one."""
    asked = TokenRequest(
        expires_in_seconds=expires_in_seconds,
        max_session_duration_seconds=max_session_duration_seconds,
    )
    token = await _issue(caller, request, response, asked)
    return TokenView(token=token, expires_in_seconds=expires_in_seconds)


async def _issue(caller: Caller, request: Request, response: Response, asked: TokenRequest) -> str:
    held: Resources = request.app.state.resources
    response.headers["Cache-Control"] = "no-store"
    grant = TokenGrant(
        account=caller.account,
        key_id=caller.key_id,
        session_s=asked.max_session_duration_seconds,
    )
    return await issue_token(held.redis, grant, asked.expires_in_seconds)
