"""The routes of the history of sessions."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from schemas.closed import Closed
from schemas.error import ErrorBody
from schemas.ids import is_id
from schemas.session_history import ResponseMetadata, SessionPage, SessionRecord
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.cursors import read_cursor, write_cursor
from workers.gateway.resources import Resources
from workers.gateway.rest_errors import ApiError
from workers.storage.sessions.history import summary_of
from workers.storage.sessions.rows import position_of
from workers.web.query import IN_DIGITS

MAX_LIMIT: Final = 200
REMOVED_AT_ONCE: Final = 2_000
"""Sessions that one call removes, about."""

Account = Annotated[str, Depends(require_account)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), IN_DIGITS, Query()]
Cursor = Annotated[str | None, Query(max_length=200)]

router = APIRouter(
    prefix="/v1/sessions",
    tags=["sessions"],
    route_class=GuardedRoute,
    responses={
        status: {"model": ErrorBody, "description": text}
        for status, text in {
            401: "The key is missing, wrong, or may not configure.",
            422: "The query is not valid; `errors` says where.",
            503: "Nothing happened; try again after `Retry-After`.",
        }.items()
    },
)


class Removed(Closed):
    """How many sessions were removed, and whether there are more."""

    removed: int
    has_more: bool


def held(request: Request) -> Resources:
    """Return what this process holds."""
    resources: Resources = request.app.state.resources
    return resources


Held = Annotated[Resources, Depends(held)]


@router.get("")
async def list_sessions(
    account: Account, held: Held, limit: Limit = 50, cursor: Cursor = None
) -> SessionPage:
    """List sessions, those under way included, newest first."""
    found = await held.session_history.page(account, limit + 1, read_cursor(cursor))
    shown, has_more = found[:limit], len(found) > limit
    return SessionPage(
        sessions=tuple(summary_of(session) for session in shown),
        has_more=has_more,
        response_metadata=ResponseMetadata(
            next_cursor=write_cursor(position_of(shown[-1])) if has_more else None
        ),
    )


@router.get(
    "/{session_id}",
    responses={404: {"model": ErrorBody, "description": "There is no such session."}},
)
async def get_session(
    session_id: str, account: Account, held: Held, limit: Limit = 50, cursor: Cursor = None
) -> SessionRecord:
    """Return a session and its time line: what was said, and what was sent to the model."""
    found = None
    after = read_cursor(cursor)
    if is_id("session", session_id):
        found = await held.session_history.get(account, session_id, limit + 1, after)
    if found is None:
        raise ApiError(404, "session_not_found", "there is no such session", "session_id")
    session, entries = found
    shown, has_more = entries[:limit], len(entries) > limit
    return SessionRecord(
        **summary_of(session).model_dump(),
        timeline=tuple(entry for _, entry in shown),
        has_more=has_more,
        response_metadata=ResponseMetadata(
            next_cursor=write_cursor(shown[-1][0]) if has_more else None
        ),
    )


@router.delete("")
async def delete_history(account: Account, held: Held) -> Removed:
    """Remove the history of every session of the account that has ended."""
    count = await held.session_history.remove_all(account, REMOVED_AT_ONCE)
    return Removed(removed=count, has_more=count >= REMOVED_AT_ONCE)
