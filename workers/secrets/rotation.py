"""Moving every stored value to another key-encryption key, in batches that each stand alone.

A rotation that is killed half-way leaves some values under the new key and some under the old
one, both of which open; the next one goes on.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection, Engine

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.envelope import rewrap
from workers.secrets.key_ring import KeyEncryptionKey, KeyRingReader, make_key
from workers.secrets.places import place_of_header, place_of_key
from workers.storage.agents.llm_rows import (
    Place,
    StoredEntry,
    count_by_key,
    entries_under_other_keys,
    move_entry,
)
from workers.storage.agents.tool_rows import (
    StoredHeader,
    count_headers_by_key,
    headers_under_other_keys,
    move_header,
)
from workers.storage.database import reading, writing
from workers.storage.secret_keys import current_key, known_keys, make_current, make_first

BATCH: Final = 200
S = TypeVar("S", StoredEntry, StoredHeader)


@dataclass(frozen=True)
class _Kind(Generic[S]):
    """One kind of stored value."""

    under_other_keys: Callable[[Connection, str, int, Place], list[S]]
    move: Callable[[Connection, S, str, bytes], bool]
    place: Callable[[S], Binding]
    envelope: Callable[[S], bytes]
    named: Callable[[S], str]


_KEYS: Final = _Kind[StoredEntry](
    entries_under_other_keys,
    move_entry,
    place_of_key,
    lambda entry: entry.api_key,
    lambda entry: f"{entry.agent_id} llm.{entry.entry}",
)
_HEADERS: Final = _Kind[StoredHeader](
    headers_under_other_keys,
    move_header,
    place_of_header,
    lambda header: header.value,
    lambda header: f"{header.agent_id} tools, {header.tool}: header {header.name}",
)


@dataclass(frozen=True)
class Rotated:
    """What a rotation did."""

    key_id: str
    """The current key from now on."""
    moved: int
    lost: tuple[str, ...]
    """Names of values whose key is not there any more: left as they are, to be set anew."""


@dataclass(frozen=True)
class KeyUse:
    """One key: whether it is here, known to the database, current, and what is under it."""

    id: str
    is_here: bool
    is_known: bool
    is_current: bool
    values: int


def list_keys(engine: Engine, here: Sequence[str]) -> list[KeyUse]:
    """Return all keys that are here, known or in use."""
    with reading(engine) as connection:
        known, counts = known_keys(connection), _counts(connection)
        current = current_key(connection)
    ids = dict.fromkeys([*known, *here, *counts])
    return [
        KeyUse(key_id, key_id in here, key_id in known, key_id == current, counts[key_id])
        for key_id in ids
    ]


def adopt_key(engine: Engine, keys: KeyRingReader, *, despite_loss: bool) -> str:
    """Make the newest key current where the database never knew any, or the current one is lost.

    Returns the current key's id. Without `despite_loss` raises KeysUnavailableError for a loss.
    """
    with writing(engine) as connection:
        now, current = datetime.now(UTC), current_key(connection)
        ring = keys.read_again()
        if current is None:
            current = make_first(connection, ring.newest.id, now)
        if current in ring.keys:
            return current
        if not despite_loss:
            raise KeysUnavailableError(
                f"the current key {current} is not here: restore it from a backup. If it is lost "
                "for good, `edgewise secrets init --despite-loss` goes on with another one; what "
                "is under the lost one must be set anew"
            )
        make_current(connection, ring.newest.id, now)
    return ring.newest.id


def rotate(
    engine: Engine,
    keys: KeyRingReader,
    folder: Path | None,
    moved: Callable[[int], None] = lambda _count: None,
    *,
    is_finishing: bool = False,
) -> Rotated:
    """Move every value to a new key and return what was done; `moved` hears of each batch.

    The new key is made in `folder`, unless a rotation was broken off, so that values which open
    are under another key, or what comes after these (`is_finishing`), or a newer key than the
    current one is there already. None: keys come from the environment, and none is made. Raises
    KeysUnavailableError where the current key is lost.
    """
    target = _target(engine, keys, folder, is_finishing=is_finishing)
    with writing(engine) as connection:
        make_current(connection, target.id, datetime.now(UTC))
    keys_moved, keys_lost = _move_all(engine, keys, target, _KEYS, moved)
    headers_moved, headers_lost = _move_all(
        engine, keys, target, _HEADERS, lambda count: moved(keys_moved + count)
    )
    return Rotated(target.id, keys_moved + headers_moved, (*keys_lost, *headers_lost))


def _move_all(
    engine: Engine,
    keys: KeyRingReader,
    target: KeyEncryptionKey,
    kind: _Kind[S],
    moved: Callable[[int], None],
) -> tuple[int, list[str]]:
    """Move the values of a kind; return how many, and the names of those that do not open."""
    count, lost, after = 0, list[str](), ("", -1)
    while True:
        with writing(engine) as connection:
            batch = kind.under_other_keys(connection, target.id, BATCH, after)
            results = [(held, _rewrapped(keys, target, kind, held)) for held in batch]
            for held, envelope in results:
                if envelope is not None:
                    count += kind.move(connection, held, target.id, envelope)
        if not batch:
            return count, lost
        lost += [kind.named(held) for held, envelope in results if envelope is None]
        after = (batch[-1].agent_id, batch[-1].entry)
        moved(count)


def _rewrapped(
    keys: KeyRingReader, target: KeyEncryptionKey, kind: _Kind[S], held: S
) -> bytes | None:
    """Return a value under `target`; None where it cannot be opened."""
    try:
        return rewrap(keys.find, target, kind.envelope(held), kind.place(held))
    except CredentialsUnavailableError:
        return None


def _counts(connection: Connection) -> Counter[str]:
    """Return how many values are under each key."""
    return Counter(count_by_key(connection)) + Counter(count_headers_by_key(connection))


def _is_some_left(
    engine: Engine, keys: KeyRingReader, current: KeyEncryptionKey, kind: _Kind[S]
) -> bool:
    """Tell whether a rotation to the current key was broken off before it moved all that opens.

    What does not open is left under its key by every rotation, and says nothing.
    """
    after: Place = ("", -1)
    while True:
        with reading(engine) as connection:
            batch = kind.under_other_keys(connection, current.id, BATCH, after)
        if not batch:
            return False
        if any(_rewrapped(keys, current, kind, held) is not None for held in batch):
            return True
        after = (batch[-1].agent_id, batch[-1].entry)


def _target(
    engine: Engine, keys: KeyRingReader, folder: Path | None, *, is_finishing: bool
) -> KeyEncryptionKey:
    current = adopt_key(engine, keys, despite_loss=False)
    newest = keys.ring().newest
    if newest.id != current or is_finishing:
        return newest
    if _is_some_left(engine, keys, newest, _KEYS) or _is_some_left(engine, keys, newest, _HEADERS):
        return newest
    if folder is None:
        raise KeysUnavailableError(
            "EDGEWISE_SECRET_KEYS has no newer key than the current one: put a new one in front"
        )
    return keys.find(make_key(folder).id)
