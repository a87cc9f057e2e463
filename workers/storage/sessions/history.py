"""Where REST reads and removes the history of sessions, on threads of its own."""

import asyncio
from typing import Final

from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.session_history import SessionSummary
from workers.storage.database import reading, writing
from workers.storage.sessions.conversation import History
from workers.storage.sessions.documents import Entry, digests_of, read_document
from workers.storage.sessions.recorder import SessionRecorder
from workers.storage.sessions.rows import (
    Position,
    StoredSession,
    bodies_of,
    find_session,
    page_of_entries,
    page_of_sessions,
    remove_of_account,
    remove_session,
)

FLUSH_S: Final = 1.0
"""How long a reader waits for what this process has not written yet."""
AT_ONCE: Final = 100


class SessionHistory:
    """The sessions that have been; every method raises StorageUnavailableError."""

    def __init__(self, engine: Engine, redis: "Redis", recorder: SessionRecorder) -> None:
        self._engine = engine
        self._conversations = History(redis)
        self._recorder = recorder

    async def page(self, account: str, limit: int, after: Position | None) -> list[StoredSession]:
        """Return up to `limit` sessions of an account, newest first."""
        return await asyncio.to_thread(self._page, account, limit, after)

    async def get(
        self, account: str, session_id: str, limit: int, after: Position | None
    ) -> tuple[StoredSession, list[tuple[Position, Entry]]] | None:
        """Return a session and up to `limit` entries of its time line, each with its position."""
        return await asyncio.to_thread(self._get, account, session_id, limit, after)

    async def remove(self, account: str, session_id: str) -> bool | None:
        """Remove an ended session and what was said in it; False if it is active, None if none."""
        removed = await asyncio.to_thread(self._remove, account, session_id)
        if removed:
            await self._conversations.forget(session_id)
        return removed

    async def remove_all(self, account: str, limit: int) -> int:
        """Remove up to about `limit` ended sessions of an account; return how many."""
        count = 0
        while count < limit:
            removed = await asyncio.to_thread(self._remove_some, account)
            for session_id in removed:
                await self._conversations.forget(session_id)
            count += len(removed)
            if len(removed) < AT_ONCE:
                break
        return count

    def _page(self, account: str, limit: int, after: Position | None) -> list[StoredSession]:
        self._recorder.flush(FLUSH_S)
        with reading(self._engine) as connection:
            return page_of_sessions(connection, account, limit, after)

    def _get(
        self, account: str, session_id: str, limit: int, after: Position | None
    ) -> tuple[StoredSession, list[tuple[Position, Entry]]] | None:
        self._recorder.flush(FLUSH_S)
        with reading(self._engine) as connection:
            session = find_session(connection, account, session_id)
            if session is None:
                return None
            rows = page_of_entries(connection, session_id, limit, after)
            digests = digests_of(document for _, document in rows)
            bodies = bodies_of(connection, session_id, sorted(digests))
        return session, [(position, read_document(document, bodies)) for position, document in rows]

    def _remove(self, account: str, session_id: str) -> bool | None:
        self._recorder.flush(FLUSH_S)
        with writing(self._engine) as connection:
            if remove_session(connection, account, session_id):
                return True
            return None if find_session(connection, account, session_id) is None else False

    def _remove_some(self, account: str) -> list[str]:
        self._recorder.flush(FLUSH_S)
        with writing(self._engine) as connection:
            return remove_of_account(connection, account, AT_ONCE)


def summary_of(session: StoredSession) -> SessionSummary:
    """Return a session as it is listed."""
    last = session.ended_at or session.seen_at
    return SessionSummary(
        id=session.id,
        agent_id=session.agent_id,
        status=session.status,
        reason=session.reason,
        started_at=session.started_at,
        ended_at=session.ended_at,
        duration_s=round((last - session.started_at).total_seconds(), 3),
    )
