"""Forgetting what is settled and old: events, batches, taken messages, agents that are gone.

What still waits is never forgotten. It works inside a transaction of its caller.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Column, Connection, Table, delete, select, tuple_

from workers.storage.batches.sweep import retire_done
from workers.storage.tables import (
    agent_tombstones,
    config_events,
    config_messages,
    to_microseconds,
)

_AGES: Final[tuple[tuple[Table, Column[int]], ...]] = (
    (config_events, config_events.c.settled_at),
    (config_messages, config_messages.c.taken_at),
    (agent_tombstones, agent_tombstones.c.removed_at),
)


def forget_before(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete up to `limit` rows of each kind that are older, the oldest first; return how many."""
    retired = retire_done(connection, moment, limit)
    return retired + sum(_forget(connection, table, age, moment, limit) for table, age in _AGES)


def _forget(
    connection: Connection, table: Table, age: Column[int], moment: datetime, limit: int
) -> int:
    key = tuple(table.primary_key)
    old = select(*key).where(age < to_microseconds(moment)).order_by(age).limit(limit)
    return connection.execute(delete(table).where(tuple_(*key).in_(old))).rowcount
