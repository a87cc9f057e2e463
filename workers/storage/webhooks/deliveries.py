"""Messages on their way to endpoints: claimed, settled, sent again, listed, forgotten.

Whoever claims one moves its time ahead by a lease: if that process dies, the message is due
again after it. Each function works inside a transaction of its caller.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pydantic import Field
from sqlalchemy import Connection, Row, delete, func, select, update

from schemas.closed import Closed
from workers.storage.tables import from_microseconds, to_microseconds
from workers.storage.webhooks.outbox import TRIED_FOR, DeliveryStatus
from workers.storage.webhooks.tables import webhook_deliveries

DISABLED: Final = "endpoint_disabled"
_KEPT: Final = timedelta(days=30)
"""How long a message that was delivered, or has failed, is kept."""

_columns = webhook_deliveries.c
_MOMENTS = ("created_at", "due_at", "gives_up_at", "settled_at")


class Delivery(Closed):
    """One message for one endpoint, and how it fares."""

    id: str
    """The same at each attempt: the receiver knows repetitions by it."""
    account: str
    endpoint_id: str
    type: str
    body: str = Field(repr=False)
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    due_at: datetime
    """When it is tried next."""
    gives_up_at: datetime
    settled_at: datetime | None
    last_status: int | None
    """What the endpoint answered last, as an HTTP status."""
    last_error: str | None
    """Why there was no answer at the last attempt."""


class Due(NamedTuple):
    """A message that is due, and since when: who finds it so may take it."""

    id: str
    due_at: int


class Bounds(NamedTuple):
    """How many messages are under way at once."""

    in_all: int
    of_account: int
    """Less than in all: whatever one account sends, there is room for others."""
    of_endpoint: int


Whose = tuple[str, str]
"""An account and an endpoint of it."""


def find_due(
    connection: Connection, now: datetime, bounds: Bounds, under_way: Mapping[Whose, int]
) -> list[Due]:
    """Return messages that are due, within the bounds; it keeps no writer waiting.

    Of accounts with as many under way, those first that have been due longest: slow endpoints
    hold up neither others nor other accounts. What it costs does not depend on how many wait.
    """
    shares = Counter[str]()
    for (account, _), count in under_way.items():
        shares[account] += count
    endpoints = _endpoints_due(connection, now)
    endpoints.sort(key=lambda each: (shares[each.account], each.due_at))
    found = list[Due]()
    for endpoint_id, account, _ in endpoints:
        room = min(
            bounds.in_all - shares.total(),
            bounds.of_account - shares[account],
            bounds.of_endpoint - under_way.get((account, endpoint_id), 0),
        )
        if room > 0:
            messages = _messages_due(connection, now, endpoint_id, room)
            shares[account] += len(messages)
            found += messages
    return sorted(found, key=lambda due: due.due_at)


def _messages_due(connection: Connection, now: datetime, endpoint_id: str, limit: int) -> list[Due]:
    query = (
        select(_columns.id, _columns.due_at)
        .where(
            _columns.status == "pending",
            _columns.endpoint_id == endpoint_id,
            _columns.due_at <= to_microseconds(now),
        )
        .order_by(_columns.due_at)
        .limit(limit)
    )
    return [Due(row.id, row.due_at) for row in connection.execute(query)]


class _EndpointDue(NamedTuple):
    endpoint_id: str
    account: str
    due_at: int


def _endpoints_due(connection: Connection, now: datetime) -> list[_EndpointDue]:
    """Return the endpoints that messages are due for; goes from one to the next."""
    waits, of = _columns.status == "pending", _columns.endpoint_id
    next_one = select(of).where(waits).order_by(of).limit(1)
    waiting = select(next_one.scalar_subquery().label("endpoint_id")).cte(recursive=True)
    after = next_one.where(of > waiting.c.endpoint_id).correlate(waiting).scalar_subquery()
    waiting = waiting.union_all(select(after).where(waiting.c.endpoint_id.is_not(None)))
    here = of == waiting.c.endpoint_id
    first = select(func.min(_columns.due_at)).where(waits, here).correlate(waiting)
    account = select(_columns.account).where(waits, here).limit(1).correlate(waiting)
    due = select(
        waiting.c.endpoint_id,
        account.scalar_subquery().label("account"),
        first.scalar_subquery().label("due_at"),
    ).subquery()
    query = select(due).where(due.c.due_at <= to_microseconds(now))
    return [_EndpointDue(*row) for row in connection.execute(query)]


def claim(connection: Connection, found: Sequence[Due], until: datetime) -> list[Delivery]:
    """Take those of these messages that nobody else took, and count the attempt.

    They are due again `until`.
    """
    claimed = list[Delivery]()
    for id_, due_at in found:  # one by one: of many SQLite would look through all that wait
        take = update(webhook_deliveries).where(
            _columns.id == id_, _columns.status == "pending", _columns.due_at == due_at
        )
        values = {"due_at": to_microseconds(until), "attempts": _columns.attempts + 1}
        taken = connection.execute(take.values(values).returning(webhook_deliveries))
        claimed += [_delivery(row) for row in taken]
    return claimed


def settle(
    connection: Connection,
    delivery: Delivery,
    status: DeliveryStatus,
    *,
    now: datetime,
    last_status: int | None,
    last_error: str | None,
    due_at: datetime | None = None,
) -> bool:
    """Note what became of an attempt; False where another one was begun meanwhile.

    A message that stays pending is tried again at `due_at`.
    """
    mine = (
        _columns.id == delivery.id,
        _columns.status == "pending",
        _columns.attempts == delivery.attempts,
    )
    values: dict[str, object] = {
        "status": status,
        "last_status": last_status,
        "last_error": last_error,
    }
    if status == "pending" and due_at is not None:
        values["due_at"] = to_microseconds(due_at)
    if status != "pending":
        values["settled_at"] = to_microseconds(now)
    return (
        connection.execute(update(webhook_deliveries).where(*mine).values(**values)).rowcount == 1
    )


def fail_all_of(connection: Connection, endpoint_id: str, now: datetime) -> int:
    """Give up all that waits for an endpoint, and return how many messages that were."""
    waiting = update(webhook_deliveries).where(
        _columns.endpoint_id == endpoint_id, _columns.status == "pending"
    )
    values = {"status": "failed", "last_error": DISABLED, "settled_at": to_microseconds(now)}
    return connection.execute(waiting.values(**values)).rowcount


def try_anew(connection: Connection, endpoint_id: str, now: datetime) -> int:
    """Let all that waits for an endpoint be due now, with its full time; return how many."""
    waiting = update(webhook_deliveries).where(
        _columns.endpoint_id == endpoint_id, _columns.status == "pending"
    )
    moments = {"due_at": to_microseconds(now), "gives_up_at": to_microseconds(now + TRIED_FOR)}
    return connection.execute(waiting.values(**moments)).rowcount


def send_again(connection: Connection, delivery_id: str, now: datetime) -> bool:
    """Let a settled message be sent again from the start; False where it still waits."""
    change = update(webhook_deliveries).where(
        _columns.id == delivery_id, _columns.status != "pending"
    )
    values = {
        "status": "pending",
        "attempts": 0,
        "due_at": to_microseconds(now),
        "gives_up_at": to_microseconds(now + TRIED_FOR),
        "settled_at": None,
    }
    return connection.execute(change.values(**values)).rowcount == 1


def list_deliveries(
    connection: Connection,
    *,
    status: DeliveryStatus | None = None,
    endpoint_id: str | None = None,
    limit: int,
) -> list[Delivery]:
    """Return the newest messages, of one status or endpoint or of all."""
    query = select(webhook_deliveries).order_by(_columns.created_at.desc(), _columns.id)
    if status is not None:
        query = query.where(_columns.status == status)
    if endpoint_id is not None:
        query = query.where(_columns.endpoint_id == endpoint_id)
    return [_delivery(row) for row in connection.execute(query.limit(limit))]


def find_delivery(connection: Connection, delivery_id: str) -> Delivery | None:
    """Return a message, or None where there is none of this id."""
    query = select(webhook_deliveries).where(_columns.id == delivery_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _delivery(row)


def forget_old_deliveries(connection: Connection, now: datetime, limit: int) -> int:
    """Forget up to `limit` messages that were settled a month ago; return how many."""
    old = (
        select(_columns.id)
        .where(_columns.status != "pending", _columns.created_at < to_microseconds(now - _KEPT))
        .order_by(_columns.created_at)
        .limit(limit)
    )
    return connection.execute(delete(webhook_deliveries).where(_columns.id.in_(old))).rowcount


def _delivery(row: Row[Sequence[object]]) -> Delivery:
    columns = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name for it
    for name in _MOMENTS:
        if columns[name] is not None:
            columns[name] = from_microseconds(columns[name])
    return Delivery.model_validate(columns)
