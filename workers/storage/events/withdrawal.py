"""Taking events back: nobody applies one that is withdrawn.

Each function works inside a transaction of its caller.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from schemas.config_event import ConfigResult
from workers.storage.agents.rows import find_agents
from workers.storage.events.rows import settled_at, update_in_order
from workers.storage.tables import config_events, to_microseconds

_columns = config_events.c


def withdraw_events(
    connection: Connection, event_ids: Collection[str], now: datetime
) -> dict[str, ConfigResult]:
    """Withdraw those of these events that wait, however late; return what became of each of all.

    Where a worker was first, that is what it made of the event.
    """
    waiting = update_in_order(_columns.id.in_(event_ids), _columns.status == "pending")
    connection.execute(waiting.values(status="withdrawn", message=None, **settled_at(now)))
    told = (_columns.status, _columns.message, _columns.code, _columns.param)
    query = select(_columns.id, _columns.agent_id, *told).where(_columns.id.in_(event_ids))
    rows = connection.execute(query).all()
    agents = find_agents(connection, {row.agent_id for row in rows if row.status == "applied"})
    found = {each: ConfigResult(event_id=each, status="withdrawn") for each in event_ids}
    for row in rows:
        stored = agents.get(row.agent_id) if row.status == "applied" else None
        found[row.id] = ConfigResult(
            event_id=row.id,
            status=row.status,
            message=row.message,
            code=row.code,
            param=row.param,
            record=stored.agent if stored else None,
        )
    return found


def withdraw_overdue(connection: Connection, now: datetime) -> int:
    """Withdraw every event whose time is up and return how many there were."""
    overdue = update_in_order(
        _columns.status == "pending", _columns.expires_at <= to_microseconds(now)
    )
    values = {"status": "withdrawn", "sealed": None, "settled_at": to_microseconds(now)}
    return connection.execute(overdue.values(**values)).rowcount
