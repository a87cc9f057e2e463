"""Moving every stored value to another key-encryption key, in batches that each stand alone.

A rotation that is killed half-way leaves some values under the new key and some under the old
one, both of which open; the next one goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.envelope import rewrap
from workers.secrets.key_ring import KeyEncryptionKey, KeyRingReader, make_key
from workers.storage.database import reading, writing
from workers.storage.llm_rows import (
    Place,
    StoredEntry,
    count_by_key,
    entries_under_other_keys,
    move_entry,
)
from workers.storage.secret_keys import current_key, known_keys, make_current

BATCH: Final = 200


@dataclass(frozen=True)
class Rotated:
    """What a rotation did."""

    key_id: str
    """The current key from now on."""
    moved: int
    lost: tuple[Place, ...]
    """Entries whose key is not there any more: left as they are, to be set anew."""


@dataclass(frozen=True)
class KeyUse:
    """One key: whether it is here, known to the database, current, and what is under it."""

    id: str
    is_here: bool
    is_known: bool
    is_current: bool
    entries: int


def list_keys(engine: Engine, here: Sequence[str]) -> list[KeyUse]:
    """Return all keys that are here, known or in use."""
    with reading(engine) as connection:
        known, counts = known_keys(connection), count_by_key(connection)
        current = current_key(connection)
    ids = dict.fromkeys([*known, *here, *counts])
    return [
        KeyUse(key_id, key_id in here, key_id in known, key_id == current, counts.get(key_id, 0))
        for key_id in ids
    ]


def adopt_key(engine: Engine, keys: KeyRingReader, *, despite_loss: bool) -> str:
    """Make the newest key current where the database knows none, or the current one is lost.

    Returns the current key's id. Without `despite_loss` raises KeysUnavailableError for a loss.
    """
    newest = keys.ring().newest
    with writing(engine) as connection:
        current = current_key(connection)
        if current is not None and current in keys.ring().keys:
            return current
        if current is not None and not despite_loss:
            raise KeysUnavailableError(
                f"the current key {current} is not here: restore it from a backup. If it is lost "
                "for good, `edgewise secrets init --despite-loss` goes on with another one; what "
                "is under the lost one must be set anew"
            )
        make_current(connection, newest.id, datetime.now(UTC))
    return newest.id


def rotate(
    engine: Engine,
    keys: KeyRingReader,
    folder: Path | None,
    moved: Callable[[int], None] = lambda _count: None,
) -> Rotated:
    """Move every value to a new key and return what was done; `moved` hears of each batch.

    The new key is made in `folder`, unless a rotation was broken off or a newer key than the
    current one is there already. None: keys come from the environment, and none is made. Raises
    KeysUnavailableError where the current key is lost.
    """
    target = _target(engine, keys, folder)
    with writing(engine) as connection:
        make_current(connection, target.id, datetime.now(UTC))
    count, lost, after = 0, list[Place](), ("", -1)
    while True:
        with writing(engine) as connection:
            batch = entries_under_other_keys(connection, target.id, BATCH, after)
            results = [(entry, rewrapped(keys, target, entry)) for entry in batch]
            for entry, envelope in results:
                if envelope is not None:
                    count += move_entry(connection, entry, target.id, envelope)
        if not batch:
            return Rotated(target.id, count, tuple(lost))
        lost += [(entry.agent_id, entry.entry) for entry, envelope in results if envelope is None]
        after = (batch[-1].agent_id, batch[-1].entry)
        moved(count)


def rewrapped(keys: KeyRingReader, target: KeyEncryptionKey, entry: StoredEntry) -> bytes | None:
    """Return an entry's key under `target`; None where it cannot be opened."""
    binding = Binding(entry.account, entry.agent_id, entry.entry, entry.base_url)
    try:
        return rewrap(keys.find, target, entry.api_key, binding)
    except CredentialsUnavailableError:
        return None


def _target(engine: Engine, keys: KeyRingReader, folder: Path | None) -> KeyEncryptionKey:
    current = adopt_key(engine, keys, despite_loss=False)
    newest = keys.ring().newest
    if newest.id != current:
        return newest
    with reading(engine) as connection:
        is_broken_off = bool(count_by_key(connection).keys() & keys.ring().keys.keys() - {current})
    if is_broken_off:
        return newest
    if folder is None:
        raise KeysUnavailableError(
            "EDGEWISE_SECRET_KEYS has no newer key than the current one: put a new one in front"
        )
    return keys.find(make_key(folder).id)
