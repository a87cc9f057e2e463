"""Events that rest, since what it takes to decide them is away: keys for secrets, name servers.

It is no fault of theirs, so no attempt is counted, and nothing that came with them is dropped.
What rested is sent again together, after all else that is overdue. Each function works inside a
transaction of its caller.
"""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, case, func, select, update

from workers.storage.batches.tables import batches
from workers.storage.events.leases import ATTEMPTS, is_open
from workers.storage.events.rows import LeasedEvent, Reason, update_in_order
from workers.storage.tables import config_events, to_microseconds

GROUP_ATTEMPTS: Final = 2
"""How often a row is tried in a group; after that its last attempt is made alone."""
_columns = config_events.c


def rest_events(
    connection: Connection,
    event_ids: Collection[str],
    owner: str,
    reason: Reason,
    *,
    now: datetime,
    until: datetime,
) -> None:
    """Let leases go uncounted; nobody tries these events before `until`.

    Rows of a batch go along with a group again.
    """
    end = to_microseconds(until)
    mine = (_columns.id.in_(event_ids), _columns.status == "pending", _columns.lease_owner == owner)
    goes_along = and_(_columns.batch_id.is_not(None), _columns.attempts <= GROUP_ATTEMPTS)
    moment = to_microseconds(now)
    since = case(
        (_columns.message == reason, func.coalesce(_columns.rests_since, moment)), else_=moment
    )
    rests = {"message": reason, "rests_since": since}
    values = {"lease_owner": None, "lease_until": end, "due_at": end, **rests}
    status = case((goes_along, "staged"), else_="pending")
    connection.execute(
        update_in_order(*mine).values(**values, status=status, attempts=_columns.attempts - 1)
    )
    whose = select(_columns.batch_id).where(_columns.id.in_(event_ids))
    rest = update(batches).where(
        batches.c.id.in_(whose), batches.c.status == "running", batches.c.due_at < end
    )
    connection.execute(rest.values(due_at=end))


def resting_until(
    connection: Connection, rows: Collection[LeasedEvent], now: datetime
) -> int | None:
    """Return when the first event of the agents of these has rested, in microseconds, or None.

    The events are those of one account.
    """
    query = select(func.min(_columns.lease_until)).where(
        _columns.account.in_({row.account for row in rows}),
        _columns.agent_id.in_({row.agent_id for row in rows}),
        is_open(),
        _columns.lease_owner.is_(None),
        _columns.lease_until > to_microseconds(now),
    )
    until: int | None = connection.execute(query).scalar()
    return until


def waiting_for_keys(
    connection: Connection, after: str, limit: int
) -> list[tuple[str, list[str | None]]]:
    """Return events that wait for keys, by id from behind `after` on, with what came sealed."""
    query = (
        select(_columns.id, _columns.sealed)
        .where(
            _columns.status.in_(("pending", "staged")),
            _columns.message == "keys_unavailable",
            _columns.id > after,
        )
        .order_by(_columns.id)
        .limit(limit)
    )
    return [(str(row.id), json.loads(row.sealed or "[]")) for row in connection.execute(query)]


def give_up_waiting(connection: Connection, event_ids: Collection[str], now: datetime) -> None:
    """Let these events be dead, for the reason that they wait for, as soon as a worker looks."""
    moment = to_microseconds(now)
    values = {"status": "pending", "attempts": ATTEMPTS, "lease_until": moment, "due_at": moment}
    waiting = update_in_order(
        _columns.id.in_(event_ids),
        _columns.status.in_(("pending", "staged")),
        _columns.lease_owner.is_(None),
    )
    connection.execute(waiting.values(**values))
