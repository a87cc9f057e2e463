"""Config events in the database; who changes a status does it by compare-and-set.

Each function works inside a transaction of its caller.
"""

from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from schemas.closed import Closed
from schemas.config_event import AgentUpsert, Status
from workers.storage.tables import config_events, from_microseconds, to_microseconds


class ConfigEvent(Closed):
    """A config event as it is stored."""

    id: str
    change: AgentUpsert
    status: Status
    message: str | None
    accepted_at: datetime


def add_event(
    connection: Connection,
    event_id: str,
    change: AgentUpsert,
    *,
    accepted_at: datetime,
    expires_at: datetime | None,
) -> None:
    """Store a pending event; past `expires_at` nobody applies it."""
    values = {
        "id": event_id,
        "account": change.account,
        "kind": change.kind,
        "agent_id": change.agent_id,
        "body": change.model_dump_json(),
        "status": "pending",
        "accepted_at": to_microseconds(accepted_at),
        "expires_at": None if expires_at is None else to_microseconds(expires_at),
    }
    connection.execute(insert(config_events).values(**values))


def settle_event(
    connection: Connection,
    event_id: str,
    status: Status,
    *,
    now: datetime,
    message: str | None = None,
) -> bool:
    """Turn a pending event into `status`; False where another was first, or its time is up.

    The row stays locked until the caller's transaction ends. An event is withdrawn however
    late it is.
    """
    change = update(config_events).where(
        config_events.c.id == event_id, config_events.c.status == "pending"
    )
    if status != "withdrawn":
        expires_at = config_events.c.expires_at
        change = change.where(or_(expires_at.is_(None), expires_at > to_microseconds(now)))
    result = connection.execute(
        change.values(status=status, message=message, settled_at=to_microseconds(now))
    )
    return result.rowcount == 1


def find_event(connection: Connection, event_id: str) -> ConfigEvent | None:
    """Return an event, or None where there is none of this id."""
    row = connection.execute(
        select(config_events).where(config_events.c.id == event_id)
    ).one_or_none()
    if row is None:
        return None
    return ConfigEvent(
        id=row.id,
        change=AgentUpsert.model_validate_json(row.body),
        status=row.status,
        message=row.message,
        accepted_at=from_microseconds(row.accepted_at),
    )
