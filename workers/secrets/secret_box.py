"""Where the gateway keeps secrets that it must read again: those of webhooks, no LLM key.

AES-256-GCM under a key of its own (`webhooks.private` in the folder of keys, or
`EDGEWISE_WEBHOOK_KEY`: base64, several separated by commas, the newest first).

    1 byte    version of this form
    8 bytes   id of the key
    12 bytes  nonce
    n bytes   ciphertext; associated data: all before it, and the place that the secret is for
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError
from workers.secrets.key_files import decode_key, read_key_file

BOX_VARIABLE: Final = "EDGEWISE_WEBHOOK_KEY"
BOX_FILE: Final = "webhooks.private"
_VERSION: Final = b"\x01"
_KEY_ID: Final = 8
_NONCE: Final = 12
_HEAD: Final = 1 + _KEY_ID

Place = tuple[str, ...]
"""What a secret is for: its account, its owner, its own id."""


class SecretBox:
    """Closes secrets and opens them again; reads its key when it is needed."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._given = environment.get(BOX_VARIABLE)
        self._keys: dict[bytes, AESGCM] = {}

    def close(self, secret: SecretStr, place: Place) -> bytes:
        """Return the secret in its stored form; raises KeysUnavailableError."""
        self._keys = self._read()  # a file may have been put back since
        key_id, key = next(iter(self._keys.items()))
        head, nonce = _VERSION + key_id, os.urandom(_NONCE)
        text = secret.get_secret_value().encode()
        return head + nonce + key.encrypt(nonce, text, _bound(head, place))

    def open(self, stored: bytes, place: Place) -> SecretStr:
        """Return a secret.

        Raises KeysUnavailableError, and CredentialsUnavailableError for a value of another key,
        a damaged one or one that is for another place.
        """
        head, nonce = stored[:_HEAD], stored[_HEAD : _HEAD + _NONCE]
        key_id = head[1:]
        if key_id not in self._keys:
            self._keys = self._read()
        key = self._keys.get(key_id)
        if head[:1] != _VERSION or key is None:
            raise CredentialsUnavailableError("the secret was stored under another key")
        try:
            text = key.decrypt(nonce, stored[_HEAD + _NONCE :], _bound(head, place))
            return SecretStr(text.decode())
        except (InvalidTag, ValueError):
            raise CredentialsUnavailableError("the secret is damaged or not for here") from None

    def _read(self) -> dict[bytes, AESGCM]:
        if self._given:
            keys = [decode_key(part, BOX_VARIABLE) for part in self._given.split(",")]
        else:
            keys = [read_key_file(self._folder / BOX_FILE)]
        return {_id_of(key): AESGCM(key) for key in keys}


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"edgewise webhook key\0" + key).digest()[:_KEY_ID]


def _bound(head: bytes, place: Place) -> bytes:
    return b"edgewise webhook secret\0" + head + json.dumps(place).encode("ascii")
