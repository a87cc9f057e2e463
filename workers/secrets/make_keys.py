"""Making the keys of a new home; what is there already is never replaced."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from workers.errors import KeysUnavailableError
from workers.secrets.key_files import KEY_BYTES, is_draft, make_folder, write_key_file
from workers.secrets.key_ring import KEYS_VARIABLE, key_files, make_key
from workers.secrets.sealing import PUBLIC_FILE, PUBLIC_VARIABLE
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_FILE, PRIVATE_VARIABLE, read_private_key

_PAIR: Final = {PUBLIC_VARIABLE, PRIVATE_VARIABLE}


def make_missing_keys(
    folder: Path, environment: Mapping[str, str], *, despite_loss: bool = False
) -> list[str]:
    """Make what a new home lacks and return what was made, in plain words.

    A folder that holds anything but drafts is no new one: a key that is missing there was lost,
    and another one would not open what the lost one closed. With `despite_loss` the key for
    webhook secrets is made anew all the same. So is the sealing pair without it: what is sealed
    for a lost one waits for that. Raises KeysUnavailableError.
    """
    is_new = not folder.is_dir() or all(map(is_draft, folder.iterdir()))
    is_pair_given = any(environment.get(name) for name in _PAIR)
    made = []
    try:
        make_folder(folder)
        if not environment.get(KEYS_VARIABLE) and is_new and not key_files(folder):
            made.append(f"key {make_key(folder).id}")
        # The pair comes last: where it is missing, too, a first start was broken off.
        may_make_box = is_new or despite_loss or not (is_pair_given or _has_pair(folder))
        if not environment.get(BOX_VARIABLE) and may_make_box and not (folder / BOX_FILE).exists():
            write_key_file(folder / BOX_FILE, os.urandom(KEY_BYTES))
            made.append("key for webhook secrets")
        if not is_pair_given:
            made += _make_sealing_pair(folder)
    except OSError as error:
        raise KeysUnavailableError(f"keys cannot be made in {folder}: {error.strerror}") from None
    return made


def _has_pair(folder: Path) -> bool:
    return (folder / PUBLIC_FILE).exists() or (folder / PRIVATE_FILE).exists()


def _make_sealing_pair(folder: Path) -> list[str]:
    public, private = folder / PUBLIC_FILE, folder / PRIVATE_FILE
    if public.exists() and private.exists():
        return []
    if not private.exists():
        write_key_file(private, X25519PrivateKey.generate().private_bytes_raw())
    key = read_private_key(folder, {})
    write_key_file(public, key.public_key().public_bytes_raw(), replace=True)
    return ["sealing key pair"]
