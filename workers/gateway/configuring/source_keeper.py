"""Sources with their secrets: made, rotated, found, removed. Its methods block."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from schemas.ids import new_id
from schemas.webhook import Scheme
from workers.gateway.configuring.secret_keeper import keep_secret
from workers.gateway.rest_errors import ApiError
from workers.secrets.secret_box import SecretBox
from workers.storage.database import reading, writing
from workers.storage.webhooks import sources as rows
from workers.storage.webhooks.secrets import StoredSecret, valid_secrets
from workers.storage.webhooks.sources import StoredSource
from workers.webhooks.signature import SecretFormError, key_of, new_secret

DEFAULT_OVERLAP_H: Final = 24
MOST_SOURCES: Final = 100


class KeptSource(NamedTuple):
    """A source with the secrets that are valid now, the newest first."""

    source: StoredSource
    secrets: Sequence[StoredSecret]
    is_new: bool = False


class SourceKeeper:
    """Keeps sources; the box closes their secrets."""

    def __init__(self, engine: Engine, box: SecretBox) -> None:
        self._engine = engine
        self._box = box

    def put(
        self,
        account: str,
        name: str,
        *,
        scheme: Scheme | None,
        secret: SecretStr | None,
        overlap: timedelta,
        now: datetime,
    ) -> tuple[KeptSource, SecretStr | None]:
        """Make a source or give it a new secret; return that secret where it was made here.

        Raises ApiError: 422 for a secret that the scheme cannot use and for too many sources,
        503 where there is no key to keep it under.
        """
        put = partial(self._put, account, name, scheme=scheme, overlap=overlap, now=now)
        try:
            return put(secret)
        except IntegrityError:  # another call just made it
            return put(secret)

    def _put(
        self,
        account: str,
        name: str,
        brought: SecretStr | None,
        *,
        scheme: Scheme | None,
        overlap: timedelta,
        now: datetime,
    ) -> tuple[KeptSource, SecretStr | None]:
        secret = brought or new_secret()
        with writing(self._engine) as connection:
            held = rows.find_source_named(connection, account, name)
            source = held or self._add(connection, account, name, scheme or "standard", now)
            if held is not None and scheme not in (None, held.scheme):
                source = held.model_copy(update={"scheme": scheme})
                rows.set_scheme(connection, source.id, source.scheme)
                overlap = timedelta(0)  # what was signed in the old way fits no more
            _check(source.scheme, secret)
            older_until = now + overlap
            keep_secret(connection, self._box, source, secret, older_until=older_until, now=now)
            valid = valid_secrets(connection, source.id, now)
        return KeptSource(source, valid, held is None), None if brought else secret

    def find(self, account: str, name: str, now: datetime) -> KeptSource | None:
        """Return a source of an account, or None."""
        with reading(self._engine) as connection:
            source = rows.find_source_named(connection, account, name)
            return None if source is None else _kept(connection, source, now)

    def of_account(self, account: str, now: datetime) -> list[KeptSource]:
        """Return all sources of an account, by name."""
        with reading(self._engine) as connection:
            sources = rows.sources_of(connection, account)
            return [_kept(connection, source, now) for source in sources]

    def remove(self, account: str, name: str) -> bool:
        """Remove a source; False where there is none."""
        with writing(self._engine) as connection:
            source = rows.find_source_named(connection, account, name)
            if source is not None:
                rows.remove_source(connection, source.id)
        return source is not None

    def _add(
        self, connection: Connection, account: str, name: str, scheme: Scheme, now: datetime
    ) -> StoredSource:
        if rows.count_sources(connection, account) >= MOST_SOURCES:
            message = f"an account has {MOST_SOURCES} sources at most"
            raise ApiError(422, "validation_error", message, param="name")
        source = StoredSource(
            id=new_id("source"), account=account, name=name, scheme=scheme, created_at=now
        )
        rows.add_source(connection, source)
        return source


def _check(scheme: Scheme, secret: SecretStr) -> None:
    try:
        key_of(scheme, secret)
    except SecretFormError as error:
        raise ApiError(422, "validation_error", f"secret: {error}", param="secret") from None


def _kept(connection: Connection, source: StoredSource, now: datetime) -> KeptSource:
    return KeptSource(source, valid_secrets(connection, source.id, now))
