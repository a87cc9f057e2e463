"""Endpoints that webhooks go to; each function works inside a transaction of its caller."""

import json
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from schemas.closed import Closed
from schemas.webhook import MessageType
from workers.storage.tables import from_microseconds, to_microseconds
from workers.storage.webhooks.secrets import remove_secrets
from workers.storage.webhooks.tables import webhook_deliveries, webhook_endpoints

_columns = webhook_endpoints.c
_MOMENTS = ("created_at", "delivered_at", "disabled_at")


class StoredEndpoint(Closed):
    """Where an account wants webhooks, without its secret."""

    id: str
    account: str
    url: str = Field(repr=False)
    """Its path may be a secret of its own."""
    events: tuple[MessageType, ...]
    created_at: datetime
    delivered_at: datetime | None = None
    """When it last took one in."""
    disabled_at: datetime | None = None
    """Since when nothing is sent there."""


def find_endpoint(
    connection: Connection, endpoint_id: str, *, to_change: bool = False
) -> StoredEndpoint | None:
    """Return an endpoint, or None where there is none of this id; one `to_change` is locked."""
    query = select(webhook_endpoints).where(_columns.id == endpoint_id)
    row = connection.execute(query.with_for_update() if to_change else query).one_or_none()
    return None if row is None else _stored(row)


def endpoints_of(connection: Connection, account: str) -> list[StoredEndpoint]:
    """Return the endpoints of an account, oldest first."""
    query = select(webhook_endpoints).where(_columns.account == account)
    query = query.order_by(_columns.created_at, _columns.id)
    return [_stored(row) for row in connection.execute(query)]


def endpoints_for(connection: Connection, account: str) -> list[StoredEndpoint]:
    """Return the endpoints of an account that are sent to now."""
    query = select(webhook_endpoints).where(
        _columns.account == account, _columns.disabled_at.is_(None)
    )
    return [_stored(row) for row in connection.execute(query)]


def count_endpoints(connection: Connection, account: str) -> int:
    """Return how many endpoints an account has."""
    query = select(func.count()).where(_columns.account == account)
    return int(connection.execute(query).scalar_one())


def add_endpoint(connection: Connection, endpoint: StoredEndpoint) -> None:
    """Store a new endpoint."""
    values = endpoint.model_dump(include={"id", "account", "url"})
    connection.execute(
        insert(webhook_endpoints).values(
            **values,
            events=json.dumps(endpoint.events),
            created_at=to_microseconds(endpoint.created_at),
        )
    )


def change_endpoint(connection: Connection, endpoint: StoredEndpoint) -> None:
    """Store where an endpoint is now and what it wants; it is sent to again."""
    change = update(webhook_endpoints).where(_columns.id == endpoint.id)
    connection.execute(
        change.values(url=endpoint.url, events=json.dumps(endpoint.events), disabled_at=None)
    )


def note_delivered(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """Note that an endpoint took a message in."""
    change = update(webhook_endpoints).where(_columns.id == endpoint_id)
    connection.execute(change.values(delivered_at=to_microseconds(now)))


def disable_endpoint(
    connection: Connection, endpoint_id: str, now: datetime, *, silent_since: datetime | None = None
) -> bool:
    """Send nothing there any more; with `silent_since`, only if it took nothing in since then."""
    change = update(webhook_endpoints).where(
        _columns.id == endpoint_id, _columns.disabled_at.is_(None)
    )
    if silent_since is not None:
        moment = to_microseconds(silent_since)
        change = change.where(or_(_columns.delivered_at.is_(None), _columns.delivered_at < moment))
    return connection.execute(change.values(disabled_at=to_microseconds(now))).rowcount == 1


def enable_endpoint(connection: Connection, endpoint_id: str) -> None:
    """Send there again."""
    change = update(webhook_endpoints).where(_columns.id == endpoint_id)
    connection.execute(change.values(disabled_at=None))


def remove_endpoint(connection: Connection, endpoint_id: str) -> None:
    """Remove an endpoint with its secrets and all that was or is to be sent there."""
    remove_secrets(connection, endpoint_id)
    mine = webhook_deliveries.c.endpoint_id == endpoint_id
    connection.execute(delete(webhook_deliveries).where(mine))
    connection.execute(delete(webhook_endpoints).where(_columns.id == endpoint_id))


def _stored(row: Row[Sequence[object]]) -> StoredEndpoint:
    columns = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name for it
    for name in _MOMENTS:
        if columns[name] is not None:
            columns[name] = from_microseconds(columns[name])
    return StoredEndpoint.model_validate(columns | {"events": json.loads(columns["events"])})
