"""Moving the secrets of webhooks to another key, as `rotation` does with those of agents.

Nothing but the keys themselves says which is current: the first that is here. So whoever adds a
secret holds rotations off while it reads the key, and a rotation replaces the key while it holds
off all who add.
"""

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import KEY_BYTES, read_key_file, write_key_file
from workers.secrets.rotation import BATCH, KeyUse, Rotated
from workers.secrets.secret_box import (
    BOX_FILE,
    HEAD,
    KEPT_FILES,
    BoxKeys,
    SecretBox,
    box_key_id,
    head_of,
    key_id_in,
)
from workers.storage.database import reading, writing
from workers.storage.webhooks.secrets import (
    StoredSecret,
    count_by_head,
    forget_expired_secrets,
    lock_to_rotate,
    replace_secret,
    secrets_that_begin_otherwise,
)


def list_box_keys(engine: Engine, here: BoxKeys) -> list[KeyUse]:
    """Return all keys that are here or in use."""
    counts = Counter[str]()
    with reading(engine) as connection:
        for head, count in count_by_head(connection, HEAD, datetime.now(UTC)).items():
            counts[key_id_in(head)] += count
    current = next(iter(here.by_id), None)
    return [
        KeyUse(
            key_id,
            is_here=key_id in here.by_id,
            is_known=True,
            is_current=key_id == current,
            values=counts[key_id],
        )
        for key_id in dict.fromkeys([*here.by_id, *counts])
    ]


def is_box_in_use(engine: Engine, box: SecretBox) -> bool:
    """Tell whether there is a key or a secret; a home from before webhooks has neither."""
    if box.has_key():
        return True
    with reading(engine) as connection:
        return bool(count_by_head(connection, HEAD, datetime.now(UTC)))


def is_box_half_moved(engine: Engine, box: SecretBox) -> bool:
    """Tell whether secrets that open are under another key than the current one.

    Raises KeysUnavailableError.
    """
    with reading(engine) as connection:
        return _is_some_left(connection, box, box.read_again())


def rotate_box(
    engine: Engine,
    box: SecretBox,
    folder: Path | None,
    moved: Callable[[int], None] = lambda _count: None,
) -> Rotated:
    """Move every secret to a new key and return what was done; `moved` hears of each batch.

    The new key is made in `folder`, unless a rotation was broken off, so that secrets which open
    are under another key than the current one. None: keys come from the environment, and none is
    made. Raises KeysUnavailableError.
    """
    with writing(engine) as connection:
        lock_to_rotate(connection)
        forget_expired_secrets(connection, datetime.now(UTC))
        if folder is not None and not _is_some_left(connection, box, box.read_again()):
            _replace_key(folder)
    count, lost, after = 0, list[str](), ""
    while True:
        with writing(engine) as connection:
            # Held for each batch: transactions that change the same rows in another order would
            # wait for this one, and this one for them.
            lock_to_rotate(connection)
            keys = box.read_again()  # another rotation may have begun meanwhile
            batch = _under_other_keys(connection, keys, after)
            for held in batch:
                closed = _closed_anew(box, keys, held)
                if closed is None:
                    lost.append(f"{held.owner_id} of account {held.account}: {held.id}")
                else:
                    replace_secret(connection, held.id, closed)
                    count += 1
        if not batch:
            return Rotated(keys.newest, count, tuple(lost))
        after = batch[-1].id
        moved(count)


def _replace_key(folder: Path) -> None:
    """Keep the current key and a new one under their ids, then put the new one in its place."""
    file, new = folder / BOX_FILE, os.urandom(KEY_BYTES)
    held = read_key_file(file)
    try:
        for key in (held, new):
            write_key_file(folder / KEPT_FILES.replace("*", box_key_id(key)), key, replace=True)
        write_key_file(file, new, replace=True)
    except OSError as error:
        raise KeysUnavailableError(f"no key can be stored in {folder}: {error.strerror}") from None


def _under_other_keys(connection: Connection, keys: BoxKeys, after: str) -> list[StoredSecret]:
    return secrets_that_begin_otherwise(
        connection, head_of(keys.newest), datetime.now(UTC), BATCH, after
    )


def _is_some_left(connection: Connection, box: SecretBox, keys: BoxKeys) -> bool:
    """Tell whether a rotation to the current key was broken off before it moved all that opens."""
    after = ""
    while batch := _under_other_keys(connection, keys, after):
        if any(_closed_anew(box, keys, held) is not None for held in batch):
            return True
        after = batch[-1].id
    return False


def _closed_anew(box: SecretBox, keys: BoxKeys, held: StoredSecret) -> bytes | None:
    """Return a secret under the current key; None where it does not open."""
    if key_id_in(held.secret[:HEAD]) not in keys.by_id:
        return None
    try:
        return box.close(box.open(held.secret, held.place), held.place)
    except CredentialsUnavailableError:
        return None
