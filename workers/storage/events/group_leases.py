"""Leases on many config events at once, for one transaction that applies them all.

Each function works inside a transaction of its caller.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select, update

from workers.storage.events.leases import is_free, is_open, is_timely
from workers.storage.events.rows import LeasedEvent, as_leased, leased_columns
from workers.storage.tables import config_events, to_microseconds

MOST_BYTES: Final = 2 * 1_048_576
"""How much text the events of one group may have in all, in characters."""
_columns = config_events.c


def claim_events(
    connection: Connection,
    event_ids: Collection[str],
    owner: str,
    *,
    now: datetime,
    until: datetime,
) -> list[LeasedEvent]:
    """Take those of these events that nobody has tried yet, and count the attempt.

    What was tried before may be what ended a worker, and is better tried alone. Oldest first, as
    many as fit into `MOST_BYTES`, and none that another transaction is just changing.
    """
    wanted = (
        select(_columns.id, func.length(_columns.body))
        .where(
            _columns.id.in_(event_ids),
            _columns.status == "pending",
            _columns.attempts == 0,
            is_timely(now),
            is_free(now),
        )
        .order_by(_columns.accepted_at, _columns.id)
        .with_for_update(skip_locked=True)
    )
    return take_found(connection, wanted, owner, until)


def take_found(
    connection: Connection, wanted: Select[Any], owner: str, until: datetime
) -> list[LeasedEvent]:
    """Take the leases of events that a query finds and locks: ids and how long their bodies are.

    Fewer than it finds where they are long, in the order of acceptance.
    """
    ids: list[str] = []
    size = 0
    for event_id, length in connection.execute(wanted):
        size += length
        if ids and size > MOST_BYTES:
            break
        ids.append(event_id)
    if not ids:
        return []
    end = to_microseconds(until)
    values: dict[str, Any] = {"lease_owner": owner, "lease_until": end, "due_at": end}
    take = update(config_events).where(_columns.id.in_(ids))
    change = take.values(status="pending", attempts=_columns.attempts + 1, **values)
    found = [as_leased(row) for row in connection.execute(change.returning(*leased_columns()))]
    return sorted(found, key=lambda event: (event.accepted_at, event.line or 0, event.event_id))


def with_earlier_events(connection: Connection, rows: Sequence[LeasedEvent]) -> set[str]:
    """Return those of these events whose agent has one that comes before it and is not here."""
    earlier = (
        select(_columns.account, _columns.agent_id, func.min(_columns.accepted_at))
        .where(
            _columns.agent_id.in_({row.agent_id for row in rows}),
            is_open(),
            _columns.id.not_in([row.event_id for row in rows]),
        )
        .group_by(_columns.account, _columns.agent_id)
    )
    first = {(row[0], row[1]): int(row[2]) for row in connection.execute(earlier)}
    return {
        row.event_id
        for row in rows
        if first.get((row.account, row.agent_id), row.accepted_at) < row.accepted_at
    }


def with_open_events(
    connection: Connection, event_ids: Collection[str], now: datetime, *, but_rows: bool = False
) -> list[str]:
    """Return one of these events for each of their agents that has an event to be applied now.

    Rows of batches do not count with `but_rows`.
    """
    other = config_events.alias()
    waits = select(other.c.id).where(
        other.c.account == _columns.account,
        other.c.agent_id == _columns.agent_id,
        is_open(other.c),
        is_timely(now, other.c),
        is_free(now, other.c),
    )
    if but_rows:
        waits = waits.where(other.c.batch_id.is_(None))
    query = (
        select(func.min(_columns.id))
        .where(_columns.id.in_(event_ids), waits.exists())
        .group_by(_columns.account, _columns.agent_id)
    )
    return [str(row[0]) for row in connection.execute(query)]
