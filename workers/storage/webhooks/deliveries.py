"""Messages on their way to endpoints: claimed, settled, sent again, listed, forgotten.

Whoever claims one moves its time ahead by a lease: if that process dies, the message is due
again after it. Each function works inside a transaction of its caller.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

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


def is_any_due(connection: Connection, now: datetime) -> bool:
    """Tell whether there is a message to send; looking for one keeps no writer waiting."""
    query = select(_columns.id).where(
        _columns.status == "pending", _columns.due_at <= to_microseconds(now)
    )
    return connection.execute(query.limit(1)).first() is not None


def claim_due(
    connection: Connection,
    now: datetime,
    *,
    until: datetime,
    limit: int,
    per_endpoint: int,
    busy: Collection[str] = (),
) -> list[Delivery]:
    """Take up to `limit` messages that are due, and count the attempt; they are due again `until`.

    Of one endpoint `per_endpoint` at most, of `busy` ones none: a slow one holds up no other.
    """
    moment = to_microseconds(now)
    place = func.row_number().over(partition_by=_columns.endpoint_id, order_by=_columns.due_at)
    due = select(_columns.id, _columns.due_at, place.label("place")).where(
        _columns.status == "pending", _columns.due_at <= moment
    )
    if busy:
        due = due.where(_columns.endpoint_id.not_in(busy))
    numbered = due.subquery()
    query = (
        select(numbered.c.id, numbered.c.due_at)
        .where(numbered.c.place <= per_endpoint)
        .order_by(numbered.c.due_at)
        .limit(limit)
    )
    claimed = []
    for row in connection.execute(query).all():
        claim = (
            update(webhook_deliveries)
            .where(
                _columns.id == row.id, _columns.status == "pending", _columns.due_at == row.due_at
            )
            .values(due_at=to_microseconds(until), attempts=_columns.attempts + 1)
        )
        if connection.execute(claim).rowcount == 1:
            claimed.append(row.id)
    found = connection.execute(select(webhook_deliveries).where(_columns.id.in_(claimed)))
    return [_delivery(row) for row in found]


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
