"""Encrypted secrets of webhook sources and endpoints; inside a transaction of the caller."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from schemas.closed import Closed
from workers.storage.tables import from_microseconds, to_microseconds
from workers.storage.webhooks.tables import webhook_secrets

MOST: int = 10
"""How many secrets one owner has at once; of more, the oldest go."""

_columns = webhook_secrets.c


class StoredSecret(Closed):
    """A secret in the form in which it is stored."""

    id: str
    owner_id: str
    account: str
    secret: bytes = Field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    """When it stops being valid; None: not by itself."""

    @property
    def place(self) -> tuple[str, str, str]:
        """What is bound into its ciphertext."""
        return self.account, self.owner_id, self.id


def lock_to_add(connection: Connection) -> None:
    """Keep rotations of keys out until the transaction ends; goes before a secret is closed.

    What is closed under a key is then in the database before another key takes its place. On
    SQLite a transaction that writes is alone as it is.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE webhook_secrets IN ROW EXCLUSIVE MODE"))


def lock_to_rotate(connection: Connection) -> None:
    """Wait for all who add or change secrets, and keep them out until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE webhook_secrets IN SHARE ROW EXCLUSIVE MODE"))


def add_secret(connection: Connection, secret: StoredSecret, *, older_until: datetime) -> None:
    """Store an owner's new secret; its older ones are valid until then, and no longer.

    What has expired by now goes, and so does the oldest beyond ten.
    """
    now = to_microseconds(secret.created_at)
    until = to_microseconds(older_until)
    mine = _columns.owner_id == secret.owner_id
    ends_later = or_(_columns.expires_at.is_(None), _columns.expires_at > until)
    connection.execute(update(webhook_secrets).where(mine, ends_later).values(expires_at=until))
    connection.execute(delete(webhook_secrets).where(mine, _columns.expires_at <= now))
    connection.execute(insert(webhook_secrets).values(**_values(secret)))
    kept = [each.id for each in valid_secrets(connection, secret.owner_id, secret.created_at)]
    for surplus in kept[MOST:]:
        connection.execute(delete(webhook_secrets).where(_columns.id == surplus))


def valid_secrets(connection: Connection, owner_id: str, now: datetime) -> list[StoredSecret]:
    """Return the secrets of an owner that are valid now, the newest first."""
    query = (
        select(webhook_secrets)
        .where(_columns.owner_id == owner_id, _is_valid(now))
        .order_by(_columns.created_at.desc(), _columns.id)
    )
    return [_stored(row) for row in connection.execute(query)]


def remove_secrets(connection: Connection, owner_id: str) -> None:
    """Remove every secret of an owner."""
    connection.execute(delete(webhook_secrets).where(_columns.owner_id == owner_id))


def forget_expired_secrets(connection: Connection, now: datetime) -> None:
    """Remove what is valid no more."""
    moment = to_microseconds(now)
    connection.execute(delete(webhook_secrets).where(_columns.expires_at <= moment))


def secrets_that_begin_otherwise(
    connection: Connection, head: bytes, now: datetime, limit: int, after: str
) -> list[StoredSecret]:
    """Return up to `limit` valid secrets whose stored form has another head, by id, after one."""
    query = (
        select(webhook_secrets)
        .where(
            func.substr(_columns.secret, 1, len(head)) != head, _columns.id > after, _is_valid(now)
        )
        .order_by(_columns.id)
        .limit(limit)
    )
    return [_stored(row) for row in connection.execute(query)]


def replace_secret(connection: Connection, secret_id: str, secret: bytes) -> None:
    """Store a secret in another form."""
    change = update(webhook_secrets).where(_columns.id == secret_id)
    connection.execute(change.values(secret=secret))


def count_by_head(connection: Connection, length: int, now: datetime) -> dict[bytes, int]:
    """Return how many valid secrets begin with the same bytes, that many."""
    head = func.substr(_columns.secret, 1, length).label("head")
    query = select(head, func.count()).where(_is_valid(now)).group_by("head")
    return {bytes(row[0]): int(row[1]) for row in connection.execute(query)}


def _is_valid(now: datetime) -> ColumnElement[bool]:
    return or_(_columns.expires_at.is_(None), _columns.expires_at > to_microseconds(now))


def _values(secret: StoredSecret) -> dict[str, object]:
    expires_at = secret.expires_at
    return {
        **secret.model_dump(include={"id", "owner_id", "account", "secret"}),
        "created_at": to_microseconds(secret.created_at),
        "expires_at": None if expires_at is None else to_microseconds(expires_at),
    }


def _stored(row: Row[Sequence[object]]) -> StoredSecret:
    columns = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name for it
    for name in ("created_at", "expires_at"):
        if columns[name] is not None:
            columns[name] = from_microseconds(columns[name])
    return StoredSecret.model_validate(columns)
