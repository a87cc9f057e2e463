"""Accounts and API keys in the database; each function works inside a transaction of its caller."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, Row, insert, select, update

from schemas.account import SCOPES, Scope
from schemas.closed import Closed
from workers.storage.accounts.tables import accounts, api_keys
from workers.storage.tables import from_microseconds, to_microseconds


class StoredAccount(Closed):
    """An owner of agents, keys and devices."""

    name: str
    created_at: datetime


class StoredKey(Closed):
    """An API key without the key itself."""

    id: str
    account: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None


def add_account(connection: Connection, name: str, *, now: datetime) -> None:
    """Store a new account; raises IntegrityError where there is one of this name."""
    connection.execute(insert(accounts).values(name=name, created_at=to_microseconds(now)))


def has_account(connection: Connection, name: str) -> bool:
    """Tell whether there is an account of this name."""
    return connection.execute(select(accounts).where(accounts.c.name == name)).first() is not None


def list_accounts(connection: Connection) -> list[StoredAccount]:
    """Return all accounts by name."""
    rows = connection.execute(select(accounts).order_by(accounts.c.name))
    return [
        StoredAccount(name=row.name, created_at=from_microseconds(row.created_at)) for row in rows
    ]


def add_key(connection: Connection, key: StoredKey, digest: str) -> None:
    """Store a new key under its digest; raises IntegrityError where there is no such account."""
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            account=key.account,
            name=key.name,
            digest=digest,
            scopes=_written(key.scopes),
            created_at=to_microseconds(key.created_at),
        )
    )


def find_key(connection: Connection, digest: str) -> StoredKey | None:
    """Return the key of a digest, or None where there is none or it was revoked."""
    live = api_keys.c.revoked_at.is_(None)
    row = connection.execute(select(api_keys).where(api_keys.c.digest == digest, live))
    found = row.one_or_none()
    return None if found is None else _stored(found)


def list_keys(connection: Connection, account: str | None = None) -> list[StoredKey]:
    """Return the keys of an account, or of all; oldest first, revoked ones too."""
    query = select(api_keys).order_by(api_keys.c.account, api_keys.c.created_at, api_keys.c.id)
    if account is not None:
        query = query.where(api_keys.c.account == account)
    return [_stored(row) for row in connection.execute(query)]


def revoke_key(connection: Connection, key_id: str, *, now: datetime) -> StoredKey | None:
    """Revoke a key, once and for good; None where there is no such key."""
    here = api_keys.c.id == key_id
    connection.execute(
        update(api_keys)
        .where(here, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=to_microseconds(now))
    )
    row = connection.execute(select(api_keys).where(here)).one_or_none()
    return None if row is None else _stored(row)


def _written(scopes: Collection[Scope]) -> str:
    return " ".join(scope for scope in SCOPES if scope in scopes)


def _stored(row: Row[Sequence[object]]) -> StoredKey:
    columns = row._mapping  # noqa: SLF001  # SQLAlchemy's documented name for it
    revoked_at = columns["revoked_at"]
    written = columns["scopes"].split()
    return StoredKey(
        id=columns["id"],
        account=columns["account"],
        name=columns["name"],
        # A scope of a later release gives no right here.
        scopes=frozenset(cast("Scope", scope) for scope in written if scope in SCOPES),
        created_at=from_microseconds(columns["created_at"]),
        revoked_at=None if revoked_at is None else from_microseconds(revoked_at),
    )
