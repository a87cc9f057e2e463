"""Making the keys of a new home; what is there already is never replaced."""

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from workers.errors import KeysUnavailableError
from workers.secrets.key_files import KEY_BYTES, is_draft, make_folder, write_key_file
from workers.secrets.key_ring import KEYS_VARIABLE, key_files, make_key
from workers.secrets.sealing import PUBLIC_FILE, PUBLIC_VARIABLE
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_FILE, PRIVATE_VARIABLE, read_private_key


def make_missing_keys(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Make what a new home lacks and return what was made, in plain words.

    A folder that holds anything but drafts is no new one: a key-encryption key that is missing
    there was lost, and another one would not open what the lost one closed. A sealing pair may be
    made anew: what is sealed for a lost one waits for it. So may the key for webhook secrets:
    those stored under a lost one have to be set anew. Raises KeysUnavailableError.
    """
    is_new = not folder.is_dir() or all(map(is_draft, folder.iterdir()))
    made = []
    try:
        make_folder(folder)
        if not environment.get(KEYS_VARIABLE) and is_new and not key_files(folder):
            made.append(f"key {make_key(folder).id}")
        if not environment.get(BOX_VARIABLE) and not (folder / BOX_FILE).exists():
            write_key_file(folder / BOX_FILE, os.urandom(KEY_BYTES))
            made.append("key for webhook secrets")
        if not {PUBLIC_VARIABLE, PRIVATE_VARIABLE} & {n for n, v in environment.items() if v}:
            made += _make_sealing_pair(folder)
    except OSError as error:
        raise KeysUnavailableError(f"keys cannot be made in {folder}: {error.strerror}") from None
    return made


def _make_sealing_pair(folder: Path) -> list[str]:
    public, private = folder / PUBLIC_FILE, folder / PRIVATE_FILE
    if public.exists() and private.exists():
        return []
    if not private.exists():
        write_key_file(private, X25519PrivateKey.generate().private_bytes_raw())
    key = read_private_key(folder, {})
    write_key_file(public, key.public_key().public_bytes_raw(), replace=True)
    return ["sealing key pair"]
