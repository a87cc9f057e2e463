"""Sessions and their time lines in the database.

Each function works inside a transaction of its caller. The gateway that holds a session writes
it, in order, and perhaps twice: a commit whose outcome is unknown is tried again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from schemas.session_history import Reason
from workers.storage.sessions.tables import session_entries, session_messages, sessions
from workers.storage.tables import from_microseconds, to_microseconds
from workers.storage.webhooks.outbox import announce_session

Position = tuple[int, str]
"""Where a page ends: a moment in microseconds since the epoch, and an id."""
AT_ONCE: Final = 500
"""Ids in one statement."""


@dataclass(frozen=True)
class StoredSession:
    """A session as it is stored."""

    id: str
    account: str
    agent_id: str
    status: Literal["active", "ended"]
    reason: Reason | None
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None


def _insert(connection: Connection, table: Any) -> Any:
    """Return an INSERT that leaves alone what is there already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def put_session(
    connection: Connection, session_id: str, account: str, agent_id: str, now: datetime
) -> None:
    """Store a session that has begun."""
    at = to_microseconds(now)
    values = {"id": session_id, "account": account, "agent_id": agent_id, "status": "active"}
    statement = _insert(connection, sessions).values(**values, started_at=at, seen_at=at)
    connection.execute(statement.on_conflict_do_nothing())


def put_entry(
    connection: Connection,
    session_id: str,
    entry_id: str,
    at: datetime,
    document: str,
    *,
    bodies: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Store an entry of the time line and messages it names, unless the session was removed."""
    held = (
        select(sessions.c.id)
        .where(sessions.c.id == session_id)
        .with_for_update(read=True, key_share=True)
    )
    if connection.execute(held).one_or_none() is None:
        return
    values = {"id": entry_id, "session_id": session_id, "at": to_microseconds(at)}
    statement = _insert(connection, session_entries).values(**values, document=document)
    connection.execute(statement.on_conflict_do_nothing())
    if bodies:
        rows = [
            {"session_id": session_id, "digest": digest, "body": body}
            for digest, body in sorted(bodies.items())
        ]
        connection.execute(_insert(connection, session_messages).on_conflict_do_nothing(), rows)


def end_session(connection: Connection, session_id: str, reason: Reason, now: datetime) -> None:
    """Store that a session has ended, and tell the endpoints of its account, once."""
    query = select(sessions).where(sessions.c.id == session_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        return
    at = to_microseconds(now)
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id)
        .values(status="ended", reason=reason, ended_at=at, seen_at=at)
    )
    if row.status == "active":
        _tell(connection, _stored(row), reason, now)


def touch(connection: Connection, session_ids: Sequence[str], now: datetime) -> None:
    """Say that these sessions are alive; one that was taken for lost is active again."""
    statement = (
        update(sessions)
        .where(sessions.c.id.in_(bindparam("ids", expanding=True)))
        .values(seen_at=to_microseconds(now), status="active", reason=None, ended_at=None)
    )
    for start in range(0, len(session_ids), AT_ONCE):
        connection.execute(statement, {"ids": list(session_ids[start : start + AT_ONCE])})


def end_lost(connection: Connection, silent_since: datetime) -> int:
    """End the sessions that nobody has said to be alive since, tell of each, return how many."""
    silent = (sessions.c.status == "active", sessions.c.seen_at < to_microseconds(silent_since))
    query = select(sessions).where(*silent).limit(AT_ONCE).with_for_update(skip_locked=True)
    lost = [_stored(row) for row in connection.execute(query)]
    if not lost:
        return 0
    ended = {"status": "ended", "reason": "lost", "ended_at": sessions.c.seen_at}
    these = sessions.c.id.in_([session.id for session in lost])
    connection.execute(update(sessions).where(these).values(**ended))
    for session in lost:
        _tell(connection, session, "lost", session.seen_at)
    return len(lost)


def _tell(
    connection: Connection, session: StoredSession, reason: Reason, ended_at: datetime
) -> None:
    announce_session(
        connection,
        session.account,
        session_id=session.id,
        agent_id=session.agent_id,
        reason=reason,
        started_at=session.started_at,
        ended_at=ended_at,
    )


def remove_old(connection: Connection, ended_before: datetime, limit: int) -> list[str]:
    """Remove up to `limit` sessions that ended before, with all that was said; return their ids."""
    old = (
        select(sessions.c.id)
        .where(sessions.c.status == "ended", sessions.c.seen_at < to_microseconds(ended_before))
        .order_by(sessions.c.seen_at)
    )
    return _remove(connection, old, limit)


def remove_of_account(connection: Connection, account: str, limit: int) -> list[str]:
    """Remove up to `limit` ended sessions of an account; return their ids."""
    mine = select(sessions.c.id).where(sessions.c.account == account, sessions.c.status == "ended")
    return _remove(connection, mine, limit)


def remove_session(connection: Connection, account: str, session_id: str) -> bool:
    """Remove an ended session of an account; False where there is none."""
    one = select(sessions.c.id).where(
        sessions.c.account == account, sessions.c.id == session_id, sessions.c.status == "ended"
    )
    return bool(_remove(connection, one, 1))


def _remove(connection: Connection, query: Select[tuple[str]], limit: int) -> list[str]:
    ids = [row.id for row in connection.execute(query.limit(limit))]
    if ids:
        connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    return ids


def find_session(connection: Connection, account: str, session_id: str) -> StoredSession | None:
    """Return a session of an account, or None."""
    query = select(sessions).where(sessions.c.id == session_id, sessions.c.account == account)
    row = connection.execute(query).one_or_none()
    return None if row is None else _stored(row)


def page_of_sessions(
    connection: Connection, account: str, limit: int, after: Position | None
) -> list[StoredSession]:
    """Return up to `limit` sessions of an account, newest first, from behind `after` on."""
    query = select(sessions).where(sessions.c.account == account)
    if after is not None:
        query = query.where(tuple_(sessions.c.started_at, sessions.c.id) < after)
    query = query.order_by(sessions.c.started_at.desc(), sessions.c.id.desc()).limit(limit)
    return [_stored(row) for row in connection.execute(query)]


def page_of_entries(
    connection: Connection, session_id: str, limit: int, after: Position | None
) -> list[tuple[Position, str]]:
    """Return up to `limit` entries of a time line, oldest first: where each is, and its JSON."""
    columns = session_entries.c
    query = select(columns.at, columns.id, columns.document).where(columns.session_id == session_id)
    if after is not None:
        query = query.where(tuple_(columns.at, columns.id) > after)
    query = query.order_by(columns.at, columns.id).limit(limit)
    return [((at, entry_id), document) for at, entry_id, document in connection.execute(query)]


def bodies_of(connection: Connection, session_id: str, digests: Sequence[str]) -> dict[str, str]:
    """Return the messages of a session that have these digests."""
    columns = session_messages.c
    found: dict[str, str] = {}
    for start in range(0, len(digests), AT_ONCE):
        query = select(columns.digest, columns.body).where(
            columns.session_id == session_id, columns.digest.in_(digests[start : start + AT_ONCE])
        )
        found |= {row.digest: row.body for row in connection.execute(query)}
    return found


def position_of(session: StoredSession) -> Position:
    """Return where a page that ends with this session ends."""
    return to_microseconds(session.started_at), session.id


def _stored(row: Row[Any]) -> StoredSession:
    return StoredSession(
        id=row.id,
        account=row.account,
        agent_id=row.agent_id,
        status=row.status,
        reason=row.reason,
        started_at=from_microseconds(row.started_at),
        seen_at=from_microseconds(row.seen_at),
        ended_at=None if row.ended_at is None else from_microseconds(row.ended_at),
    )
