"""Which webhooks came in already; each function works inside a transaction of its caller."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from workers.storage.tables import to_microseconds
from workers.storage.webhooks.tables import webhook_receipts

KEPT: Final = timedelta(days=7)
"""How long the id of a webhook is remembered."""

_columns = webhook_receipts.c


class Receipt(NamedTuple):
    """What a webhook held, as a hash, and which event came of it."""

    body_hash: str
    event_id: str


def find_receipt(connection: Connection, source_id: str, webhook_id: str) -> Receipt | None:
    """Return what came from a source under this id, or None."""
    query = select(_columns.body_hash, _columns.event_id).where(
        _columns.source_id == source_id, _columns.webhook_id == webhook_id
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Receipt(row.body_hash, row.event_id)


def find_same_body(connection: Connection, source_id: str, body_hash: str) -> Receipt | None:
    """Return what came from a source with this very body, under whatever id, or None."""
    query = (
        select(_columns.event_id)
        .where(_columns.source_id == source_id, _columns.body_hash == body_hash)
        .order_by(_columns.received_at)
        .limit(1)
    )
    event_id = connection.execute(query).scalar()
    return None if event_id is None else Receipt(body_hash, event_id)


def add_receipt(
    connection: Connection, source_id: str, webhook_id: str, receipt: Receipt, now: datetime
) -> None:
    """Remember a webhook; raises IntegrityError where another process just did."""
    connection.execute(
        insert(webhook_receipts).values(
            source_id=source_id,
            webhook_id=webhook_id,
            received_at=to_microseconds(now),
            **receipt._asdict(),
        )
    )


def forget_old_receipts(connection: Connection, now: datetime, limit: int) -> int:
    """Forget up to `limit` webhooks of more than a week ago and return how many those were."""
    before = to_microseconds(now - KEPT)
    old = select(_columns.source_id, _columns.webhook_id).where(_columns.received_at < before)
    rows = connection.execute(old.limit(limit)).all()
    for row in rows:
        connection.execute(
            delete(webhook_receipts).where(
                _columns.source_id == row.source_id, _columns.webhook_id == row.webhook_id
            )
        )
    return len(rows)
