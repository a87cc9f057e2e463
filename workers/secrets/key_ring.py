"""The key-encryption keys: several at once, so that values can move from one to the next.

They come from `EDGEWISE_SECRET_KEYS` (base64, separated by commas, the newest first) or from
the files `<made at>-<id>.key` in the folder of keys. The database says which is current.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import (
    KEY_BYTES,
    decode_key,
    make_folder,
    read_key_file,
    write_key_file,
)

KEYS_VARIABLE: Final = "EDGEWISE_SECRET_KEYS"
KEY_ID_BYTES: Final = 8
_FILE_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{12}Z-([0-9a-f]{16})\.key")


@dataclass(frozen=True)
class KeyEncryptionKey:
    """A key that wraps data keys; its id follows from it, so a wrong file is noticed."""

    material: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of its hash."""
        return hashlib.sha256(b"edgewise key\0" + self.material).digest()[:KEY_ID_BYTES].hex()

    def cipher(self) -> AESGCM:
        """Return the cipher under this key."""
        return AESGCM(self.material)


@dataclass(frozen=True)
class KeyRing:
    """The keys that are there, by id, the newest last."""

    keys: Mapping[str, KeyEncryptionKey] = field(repr=False)

    @property
    def newest(self) -> KeyEncryptionKey:
        """The key that was made last."""
        return list(self.keys.values())[-1]


class KeyRingReader:
    """Reads the ring when it is needed, and anew when a key is asked for that it lacks."""

    def __init__(self, load: Callable[[], KeyRing]) -> None:
        self._load = load
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        """Return the ring as it was read last; raises KeysUnavailableError."""
        if self._ring is None:
            self._ring = self._load()
        return self._ring

    def read_again(self) -> KeyRing:
        """Return the ring as it is now; raises KeysUnavailableError."""
        self._ring = self._load()
        return self._ring

    def find(self, key_id: str) -> KeyEncryptionKey:
        """Return a key; raises CredentialsUnavailableError where it is lost."""
        try:
            if key_id not in self.ring().keys:
                self.read_again()
            return self.ring().keys[key_id]
        except KeyError:
            raise CredentialsUnavailableError(f"the key {key_id} is not here") from None
        except KeysUnavailableError as error:
            raise CredentialsUnavailableError(str(error)) from None


def read_key_ring(folder: Path, environment: Mapping[str, str]) -> KeyRing:
    """Return all keys, from the environment or else the folder of keys.

    Raises KeysUnavailableError where there is none, or one of them is not what it says it is.
    """
    if given := environment.get(KEYS_VARIABLE):
        materials = [decode_key(part, KEYS_VARIABLE) for part in given.split(",")]
        found = [KeyEncryptionKey(material) for material in reversed(materials)]
    else:
        found = [_read(file) for file in key_files(folder)]
    if not found:
        raise KeysUnavailableError(
            f"no key in {folder}, nor in {KEYS_VARIABLE}: restore them from a backup, or "
            "`edgewise secrets init` if there never was one"
        )
    return KeyRing({key.id: key for key in found})


def key_files(folder: Path) -> list[Path]:
    """Return the files of key-encryption keys, the newest last."""
    return sorted(file for file in folder.glob("*.key") if _FILE_NAME.fullmatch(file.name))


def make_key(folder: Path) -> KeyEncryptionKey:
    """Make a key and store it in the folder of keys; raises KeysUnavailableError."""
    key = KeyEncryptionKey(os.urandom(KEY_BYTES))
    make_folder(folder)
    try:
        write_key_file(folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{key.id}.key", key.material)
    except OSError as error:
        raise KeysUnavailableError(f"no key can be stored in {folder}: {error.strerror}") from None
    return key


def _read(file: Path) -> KeyEncryptionKey:
    key = KeyEncryptionKey(read_key_file(file))
    named = _FILE_NAME.fullmatch(file.name)
    if named is None or named[1] != key.id:
        raise KeysUnavailableError(
            f"{file} holds another key than its name says: restore it from a backup"
        )
    return key
