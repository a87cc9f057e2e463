"""Batches that stalled, and what is left of those that were never received whole.

Each function works inside a transaction of its caller.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, delete, or_, select, update

from workers.storage.batches.tables import batch_errors, batches
from workers.storage.tables import config_events, to_microseconds

SLICE: Final = 1_000
"""How many rows one transaction removes."""

_columns = batches.c


def stalled(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Return running batches of which no row was settled lately, the most overdue first."""
    query = (
        select(_columns.id)
        .where(_columns.status == "running", _columns.due_at <= to_microseconds(now))
        .order_by(_columns.due_at)
        .limit(limit)
    )
    return [str(row[0]) for row in connection.execute(query)]


def claim_stalled(connection: Connection, batch_id: str, now: datetime, due_at: datetime) -> bool:
    """Take it on to send a stalled batch again; False where another process just did."""
    claim = update(batches).where(
        _columns.id == batch_id,
        _columns.status == "running",
        _columns.due_at <= to_microseconds(now),
    )
    return connection.execute(claim.values(due_at=to_microseconds(due_at))).rowcount == 1


def postpone(connection: Connection, batch_id: str, due_at: datetime) -> None:
    """Take a running batch for stalled from then on: its next group is on the way already."""
    moment = to_microseconds(due_at)
    running = update(batches).where(
        _columns.id == batch_id, _columns.status == "running", _columns.due_at < moment
    )
    connection.execute(running.values(due_at=moment))


def give_up(connection: Connection, batch_id: str) -> None:
    """Give up a batch that is being received: its key is free again, its rows are swept."""
    change = update(batches).where(_columns.id == batch_id, _columns.status == "receiving")
    connection.execute(change.values(status="given_up", idempotency_key=None))


def retire_done(connection: Connection, before: datetime, limit: int) -> int:
    """Give batches that were done before that to the sweep; return how many."""
    old = (
        select(_columns.id)
        .where(_columns.status == "done", _columns.finished_at < to_microseconds(before))
        .limit(limit)
    )
    change = update(batches).where(_columns.id.in_(old))
    values = {"status": "given_up", "idempotency_key": None}
    return connection.execute(change.values(**values)).rowcount


def has_leftovers(connection: Connection, now: datetime) -> bool:
    """Tell whether there is something for `sweep_leftovers` to do."""
    late = and_(_columns.status == "receiving", _columns.due_at <= to_microseconds(now))
    query = select(_columns.id).where(or_(_columns.status == "given_up", late)).limit(1)
    return connection.execute(query).scalar() is not None


def sweep_leftovers(connection: Connection, now: datetime) -> None:
    """Give up batches that fell silent, and remove a slice of what is left of one."""
    late = and_(_columns.status == "receiving", _columns.due_at <= to_microseconds(now))
    connection.execute(update(batches).where(late).values(status="given_up", idempotency_key=None))
    query = select(_columns.id).where(_columns.status == "given_up").limit(1)
    found = connection.execute(query).scalar()
    if found is not None:
        remove_slice(connection, str(found))


def remove_slice(connection: Connection, batch_id: str) -> None:
    """Remove staged rows of a batch, then its errors, then itself: one slice of those."""
    staged = select(config_events.c.id).where(
        config_events.c.batch_id == batch_id, config_events.c.status == "staged"
    )
    ids = connection.execute(staged.limit(SLICE)).scalars().all()
    if ids:
        connection.execute(delete(config_events).where(config_events.c.id.in_(ids)))
        return
    mine = batch_errors.c.batch_id == batch_id
    lines = connection.execute(select(batch_errors.c.line).where(mine).limit(SLICE)).scalars().all()
    if lines:
        connection.execute(delete(batch_errors).where(mine, batch_errors.c.line.in_(lines)))
        return
    connection.execute(delete(batches).where(_columns.id == batch_id))
