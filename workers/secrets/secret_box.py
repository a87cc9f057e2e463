"""Where the gateway keeps secrets that it must read again: those of webhooks, no LLM key.

AES-256-GCM under keys of its own: `webhooks.private` in the folder of keys is the current one, and
`webhooks-<id>.private` are those that a rotation kept or made. Or `EDGEWISE_WEBHOOK_KEY`: base64,
several separated by commas, the newest first.

    1 byte    version of this form
    8 bytes   id of the key
    12 bytes  nonce
    n bytes   ciphertext; associated data: all before it, and the place that the secret is for
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import decode_key, read_key_file

BOX_VARIABLE: Final = "EDGEWISE_WEBHOOK_KEY"
BOX_FILE: Final = "webhooks.private"
KEPT_FILES: Final = "webhooks-*.private"
"""Keys by their ids: former ones, for what is closed under them still, and a copy of the current
one, so that a backup from before it, put back, overwrites no key."""
_VERSION: Final = b"\x01"
_KEY_ID: Final = 8
_NONCE: Final = 12
HEAD: Final = 1 + _KEY_ID
"""How many bytes of a stored secret come before its nonce."""

Place = tuple[str, ...]
"""What a secret is for: its account, its owner, its own id."""


@dataclass(frozen=True)
class BoxKeys:
    """The keys that are here; new secrets are closed under the first."""

    by_id: Mapping[str, AESGCM] = field(repr=False)
    unusable: Sequence[str] = ()
    """What is wrong with others; only what is closed under those does not open."""

    @property
    def newest(self) -> str:
        """The id of the first."""
        return next(iter(self.by_id))


class SecretBox:
    """Closes secrets and opens them again; reads its keys when they are needed."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._given = environment.get(BOX_VARIABLE)
        self._keys = BoxKeys({})

    def has_key(self) -> bool:
        """Tell whether there is a key to close with, be it damaged."""
        return bool(self._given) or (self._folder / BOX_FILE).exists()

    def read_again(self) -> BoxKeys:
        """Return the keys as they are now; raises KeysUnavailableError."""
        self._keys = keys = self._read()
        return keys

    def close(self, secret: SecretStr, place: Place) -> bytes:
        """Return the secret in its stored form; raises KeysUnavailableError."""
        keys = self.read_again()  # it may have been replaced since
        head, nonce = head_of(keys.newest), os.urandom(_NONCE)
        text = secret.get_secret_value().encode()
        return head + nonce + keys.by_id[keys.newest].encrypt(nonce, text, _bound(head, place))

    def open(self, stored: bytes, place: Place) -> SecretStr:
        """Return a secret.

        Raises KeysUnavailableError, and CredentialsUnavailableError for a value of another key,
        a damaged one or one that is for another place.
        """
        head, nonce = stored[:HEAD], stored[HEAD : HEAD + _NONCE]
        key_id = key_id_in(head)
        key = self._keys.by_id.get(key_id) or self.read_again().by_id.get(key_id)
        if head[:1] != _VERSION or key is None:
            raise CredentialsUnavailableError("the secret was stored under another key")
        try:
            text = key.decrypt(nonce, stored[HEAD + _NONCE :], _bound(head, place))
            return SecretStr(text.decode())
        except (InvalidTag, ValueError):
            raise CredentialsUnavailableError("the secret is damaged or not for here") from None

    def _read(self) -> BoxKeys:
        if self._given:
            given = [decode_key(part, BOX_VARIABLE) for part in self._given.split(",")]
            return BoxKeys(_by_id(given))
        found, unusable = [read_key_file(self._folder / BOX_FILE)], list[str]()
        for kept in sorted(self._folder.glob(KEPT_FILES)):
            try:
                found.append(read_key_file(kept))
            except KeysUnavailableError as error:
                unusable.append(str(error))
        return BoxKeys(_by_id(found), unusable)


def head_of(key_id: str) -> bytes:
    """Return what each secret begins with that is closed under this key."""
    return _VERSION + bytes.fromhex(key_id)


def key_id_in(head: bytes) -> str:
    """Return which key a secret that begins so is closed under."""
    return head[1:].hex()


def box_key_id(key: bytes) -> str:
    """Return the id of a key: the first 16 hexadecimal digits of its hash."""
    return hashlib.sha256(b"edgewise webhook key\0" + key).digest()[:_KEY_ID].hex()


def _by_id(keys: Sequence[bytes]) -> dict[str, AESGCM]:
    return {box_key_id(key): AESGCM(key) for key in keys}


def _bound(head: bytes, place: Place) -> bytes:
    return b"edgewise webhook secret\0" + head + json.dumps(place).encode("ascii")
