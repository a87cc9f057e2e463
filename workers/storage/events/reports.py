"""Config events as operators see them: what became of them, without what they carry."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, select

from schemas.closed import Closed
from schemas.config_event import Status
from workers.storage.tables import config_events, from_microseconds

_SHOWN = (
    *("id", "account", "kind", "agent_id", "status", "attempts", "message", "code", "param"),
    *("lease_owner", "batch_id", "line"),
)
_MOMENTS = ("accepted_at", "expires_at", "settled_at", "lease_until", "due_at")
_columns = [config_events.c[name] for name in (*_SHOWN, *_MOMENTS)]


class EventReport(Closed):
    """How an event fares. Its body and its sealed keys are no part of this."""

    id: str
    account: str
    kind: str
    agent_id: str
    status: Status
    attempts: int
    message: str | None
    """Why it was rejected, is dead, or why its last attempt failed."""
    code: str | None
    """Where it was rejected: what the error is named, and which field it is about."""
    param: str | None
    accepted_at: datetime
    expires_at: datetime | None
    """When its caller stops waiting; nobody applies it after that."""
    settled_at: datetime | None
    lease_owner: str | None
    """Host, process and attempt that is on it."""
    lease_until: datetime | None
    batch_id: str | None
    line: int | None
    """Which row of which batch it is."""
    due_at: datetime | None
    """When it is sent again, where it still waits."""


def list_events(
    connection: Connection,
    status: Status | None,
    limit: int,
    *,
    account: str | None = None,
    agent_id: str | None = None,
) -> list[EventReport]:
    """Return the newest events; of one status, account or agent, or of all."""
    query = select(*_columns).order_by(config_events.c.accepted_at.desc(), config_events.c.id)
    for name, wanted in (("status", status), ("account", account), ("agent_id", agent_id)):
        if wanted is not None:
            query = query.where(config_events.c[name] == wanted)
    return [_report(row) for row in connection.execute(query.limit(limit))]


def report_event(connection: Connection, event_id: str) -> EventReport | None:
    """Return how an event fares, or None where there is none of this id."""
    row = connection.execute(select(*_columns).where(config_events.c.id == event_id)).one_or_none()
    return None if row is None else _report(row)


def _report(row: Row[Sequence[object]]) -> EventReport:
    columns = row._mapping  # noqa: SLF001  # SQLAlchemy's documented name for it
    moments = {
        name: None if columns[name] is None else from_microseconds(columns[name])
        for name in _MOMENTS
    }
    return EventReport(**{name: columns[name] for name in _SHOWN}, **moments)
