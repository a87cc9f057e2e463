"""Leases on config events: who applies one, for how long, and how often it was tried.

An event is applied by whoever holds its lease when it is settled. A lease runs out by itself,
so a worker that dies holds nothing up for long. Attempts are counted when a lease is taken:
a worker that is killed by an event cannot count afterwards. Each function works inside a
transaction of its caller, and changes by compare-and-set.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from workers.storage.batches.tables import batches
from workers.storage.events.rows import RESTING, update_in_order
from workers.storage.tables import config_events, to_microseconds
from workers.storage.webhooks.outbox import Told, announce_results

ATTEMPTS: Final = 3
"""How often an event is tried before it is dead."""
ENDED_IN_THE_MIDDLE: Final = "the worker ended in the middle of applying it"

_Columns = ReadOnlyColumnCollection[str, Any]
_columns = config_events.c
_pending = _columns.status == "pending"


class Head(NamedTuple):
    """The event of an agent that is next, and whether somebody is on it, or it rests."""

    event_id: str
    is_free: bool
    is_staged: bool
    """A row that goes along with its group, where nobody waits for it."""


def next_of_agent(connection: Connection, event_id: str, now: datetime) -> Head | None:
    """Return the first pending event of the agent that this event is about, of the same account.

    Another account's events that name the agent change nothing, so it waits for none of them.
    Events whose time is up count no longer. None where nothing waits.
    """
    this = config_events.alias()
    query = (
        select(_columns.id, _columns.status, is_free(now).label("is_free"))
        .join(this, and_(this.c.agent_id == _columns.agent_id, this.c.account == _columns.account))
        .where(this.c.id == event_id, is_open(), is_timely(now))
        .order_by(_columns.accepted_at, _columns.id)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Head(row.id, bool(row.is_free), row.status == "staged")


def is_row(connection: Connection, event_id: str) -> bool:
    """Tell whether an event is a row of a batch."""
    query = select(_columns.id).where(_columns.id == event_id, _columns.batch_id.is_not(None))
    return connection.execute(query).scalar() is not None


def take_lease(
    connection: Connection, event_id: str, owner: str, *, now: datetime, until: datetime
) -> bool:
    """Take an open event and count the attempt; False where it is not to be had.

    A row of a batch is pending from then on, and sent again as any other event.
    """
    take = update(config_events).where(
        _columns.id == event_id,
        is_open(),
        is_timely(now),
        is_free(now),
        _columns.attempts < ATTEMPTS,
    )
    end = to_microseconds(until)
    values = {
        "status": "pending",
        "lease_owner": owner,
        "lease_until": end,
        "due_at": end,
        "attempts": _columns.attempts + 1,
    }
    return connection.execute(take.values(**values)).rowcount == 1


def give_back(connection: Connection, event_id: str, owner: str, now: datetime) -> None:
    """Let a lease go uncounted: the attempt came to nothing through no fault of the event."""
    give_back_all(connection, [event_id], owner, now)


def give_back_all(
    connection: Connection, event_ids: Collection[str], owner: str, now: datetime
) -> None:
    """As `give_back`, for many."""
    held = update_in_order(_columns.id.in_(event_ids), _pending, _columns.lease_owner == owner)
    values = {"due_at": to_microseconds(now), "attempts": _columns.attempts - 1}
    connection.execute(held.values(lease_owner=None, lease_until=None, **values))


def note_failure(
    connection: Connection, event_id: str, owner: str, reason: str, *, rest_until: datetime
) -> None:
    """Let a lease go with the reason why the attempt failed; nobody tries before `rest_until`."""
    end = to_microseconds(rest_until)
    values = {"lease_owner": None, "lease_until": end, "due_at": end, "message": reason}
    connection.execute(_held(event_id, owner).values(**values))


def bury_spent(connection: Connection, event_id: str, now: datetime) -> str | None:
    """Turn an event whose attempts are used up into a dead one and return the reason.

    None where it is not so, or another was first. Sealed keys stay with it only where it may
    be revived, which an event that had a deadline may not.
    """
    bury = update(config_events).where(
        _columns.id == event_id, _pending, is_free(now), _columns.attempts >= ATTEMPTS
    )
    values = {
        "status": "dead",
        "message": _reason_of_death(),
        "settled_at": to_microseconds(now),
        "lease_owner": None,
        "lease_until": None,
        "sealed": case((_may_be_revived(_columns), _columns.sealed), else_=None),
    }
    if connection.execute(bury.values(**values)).rowcount != 1:
        return None
    query = select(_columns.message, _columns.expires_at).where(_columns.id == event_id)
    reason, expires_at = connection.execute(query).one()
    if expires_at is None:  # else its caller is told that nothing happened
        announce_results(connection, [Told(event_id, "dead")], now)
    return str(reason)


def revive(connection: Connection, event_id: str, now: datetime) -> bool:
    """Let a dead event be tried again from the start; False where it may not be.

    It may not where its caller was told that nothing happens, nor as a row of a batch, which
    counted it as failed, nor where a later event of the agent was applied: an older state would
    come back.
    """
    other = config_events.alias()
    mine = _columns
    later = select(other.c.id).where(
        other.c.account == mine.account,
        other.c.agent_id == mine.agent_id,
        other.c.status == "applied",
        or_(
            other.c.accepted_at > mine.accepted_at,
            and_(other.c.accepted_at == mine.accepted_at, other.c.id > mine.id),
        ),
    )
    dead = update(config_events).where(
        mine.id == event_id, mine.status == "dead", _may_be_revived(mine), ~later.exists()
    )
    values = {
        "status": "pending",
        "message": None,
        "settled_at": None,
        "attempts": 0,
        "due_at": to_microseconds(now),
    }
    return connection.execute(dead.values(**values)).rowcount == 1


def overdue(
    connection: Connection, now: datetime, limit: int, *, rested: bool = False
) -> list[str]:
    """Return events that should have been settled by now, the most overdue first.

    Those that have rested are left to a look of their own: they may be many, and in vain.
    """
    has_rested = and_(func.coalesce(_columns.message, "").in_(RESTING), _columns.attempts == 0)
    query = (
        select(_columns.id)
        .where(
            _pending,
            _columns.due_at <= to_microseconds(now),
            has_rested if rested else not_(has_rested),
        )
        .order_by(_columns.due_at)
        .limit(limit)
    )
    return [str(row[0]) for row in connection.execute(query)]


def claim_overdue(connection: Connection, event_id: str, now: datetime, due_at: datetime) -> bool:
    """Take it on to send an overdue event again; False where another process just did."""
    claim = update(config_events).where(
        _columns.id == event_id, _pending, _columns.due_at <= to_microseconds(now)
    )
    return connection.execute(claim.values(due_at=to_microseconds(due_at))).rowcount == 1


def is_open(columns: _Columns = _columns) -> ColumnElement[bool]:
    """Pending, or a row that waits in a batch that is turned on."""
    running = select(batches.c.id).where(batches.c.status == "running")
    staged = and_(columns.status == "staged", columns.batch_id.in_(running))
    return or_(columns.status == "pending", staged)


def is_free(now: datetime, columns: _Columns = _columns) -> ColumnElement[bool]:
    """Nobody is on it, and it does not rest."""
    return or_(columns.lease_until.is_(None), columns.lease_until <= to_microseconds(now))


def is_timely(now: datetime, columns: _Columns = _columns) -> ColumnElement[bool]:
    """Its time is not up."""
    return or_(columns.expires_at.is_(None), columns.expires_at > to_microseconds(now))


def _may_be_revived(columns: _Columns) -> ColumnElement[bool]:
    return and_(columns.expires_at.is_(None), columns.batch_id.is_(None))


def _reason_of_death() -> ColumnElement[str]:
    """Why the last attempt failed; what a worker died over did not die of what it rested for."""
    died = and_(_columns.lease_owner.is_not(None), _columns.message.in_(RESTING))
    kept = func.coalesce(_columns.message, ENDED_IN_THE_MIDDLE)
    return case((died, ENDED_IN_THE_MIDDLE), else_=kept)


def _held(event_id: str, owner: str) -> Update:
    return update(config_events).where(
        _columns.id == event_id, _pending, _columns.lease_owner == owner
    )
