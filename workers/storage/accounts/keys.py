"""Accounts are made and listed; keys are made, looked up, listed and revoked."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, ProgrammingError

from schemas.account import Scope
from schemas.ids import new_id
from workers.errors import EdgewiseError, StorageUnavailableError
from workers.storage.accounts import rows
from workers.storage.accounts.key_text import digest_of, new_key
from workers.storage.database import reading, writing


class AccountError(EdgewiseError):
    """There is no such account, or there is one already; the message says which."""


class UnknownKeyError(EdgewiseError):
    """There is no key of this id."""


def make_account(engine: Engine, name: str) -> None:
    """Make an account; raises AccountError where there is one of this name."""
    try:
        with writing(engine) as connection:
            rows.add_account(connection, name, now=datetime.now(UTC))
    except IntegrityError:
        raise AccountError(f"there is an account {name} already") from None


def accounts(engine: Engine) -> list[rows.StoredAccount]:
    """Return all accounts by name."""
    with reading(engine) as connection:
        return rows.list_accounts(connection)


def make_key(
    engine: Engine, account: str, name: str, scopes: Collection[Scope]
) -> tuple[rows.StoredKey, str]:
    """Make a key and return it with its text, which is kept nowhere; raises AccountError."""
    text = new_key()
    key = rows.StoredKey(
        id=new_id("key"),
        account=account,
        name=name,
        scopes=frozenset(scopes),
        created_at=datetime.now(UTC),
        revoked_at=None,
    )
    try:
        with writing(engine) as connection:
            rows.add_key(connection, key, digest_of(text))
    except IntegrityError:
        raise AccountError(f"there is no account {account}: `edgewise accounts create`") from None
    return key, text


def keys(engine: Engine, account: str | None = None) -> list[rows.StoredKey]:
    """Return the keys of an account, or of all; revoked ones too."""
    with reading(engine) as connection:
        return rows.list_keys(connection, account)


def revoke(engine: Engine, key_id: str) -> rows.StoredKey:
    """Revoke a key for good; raises UnknownKeyError."""
    with writing(engine) as connection:
        key = rows.revoke_key(connection, key_id, now=datetime.now(UTC))
    if key is None:
        raise UnknownKeyError(f"there is no key {key_id}: `edgewise keys list` shows them")
    return key


def look_up(engine: Engine, digest: str) -> rows.StoredKey | None:
    """Return the key of a digest, None where there is none in force.

    Raises StorageUnavailableError, too, where the database has no tables yet.
    """
    try:
        with reading(engine) as connection:
            return rows.find_key(connection, digest)
    except ProgrammingError:
        raise StorageUnavailableError("the database is not migrated yet") from None
