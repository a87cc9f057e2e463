"""Sources of webhooks in the database; each function works inside a caller's transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from schemas.closed import Closed
from schemas.webhook import Scheme
from workers.storage.tables import from_microseconds, to_microseconds
from workers.storage.webhooks.secrets import remove_secrets
from workers.storage.webhooks.tables import webhook_receipts, webhook_sources

_columns = webhook_sources.c


class StoredSource(Closed):
    """A sender of webhooks, without its secrets."""

    id: str
    account: str
    name: str
    scheme: Scheme
    created_at: datetime


def find_source(connection: Connection, source_id: str) -> StoredSource | None:
    """Return a source, or None where there is none of this id."""
    query = select(webhook_sources).where(_columns.id == source_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _stored(row)


def find_source_named(connection: Connection, account: str, name: str) -> StoredSource | None:
    """Return the source that an account calls so, or None; nobody else changes it meanwhile."""
    query = select(webhook_sources).where(_columns.account == account, _columns.name == name)
    row = connection.execute(query.with_for_update()).one_or_none()
    return None if row is None else _stored(row)


def sources_of(connection: Connection, account: str) -> list[StoredSource]:
    """Return the sources of an account, by name."""
    query = select(webhook_sources).where(_columns.account == account).order_by(_columns.name)
    return [_stored(row) for row in connection.execute(query)]


def count_sources(connection: Connection, account: str) -> int:
    """Return how many sources an account has."""
    query = select(func.count()).where(_columns.account == account)
    return int(connection.execute(query).scalar_one())


def add_source(connection: Connection, source: StoredSource) -> None:
    """Store a new source; raises IntegrityError where the account has one of this name."""
    values = source.model_dump() | {"created_at": to_microseconds(source.created_at)}
    connection.execute(insert(webhook_sources).values(**values))


def set_scheme(connection: Connection, source_id: str, scheme: Scheme) -> None:
    """Let a source sign in another way."""
    change = update(webhook_sources).where(_columns.id == source_id)
    connection.execute(change.values(scheme=scheme))


def remove_source(connection: Connection, source_id: str) -> None:
    """Remove a source with its secrets and what it is known to have sent."""
    remove_secrets(connection, source_id)
    receipts = delete(webhook_receipts).where(webhook_receipts.c.source_id == source_id)
    connection.execute(receipts)
    connection.execute(delete(webhook_sources).where(_columns.id == source_id))


def _stored(row: Row[Sequence[object]]) -> StoredSource:
    columns = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name for it
    columns["created_at"] = from_microseconds(columns["created_at"])
    return StoredSource.model_validate(columns)
