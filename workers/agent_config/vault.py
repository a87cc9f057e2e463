"""From the gateway's seal to the stored envelope: the only place where both are open."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import Connection

from workers.errors import (
    CredentialsUnavailableError,
    KeysUnavailableError,
    SealedForAnotherKeyError,
)
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt, encrypt
from workers.secrets.key_ring import KeyEncryptionKey, KeyRingReader, read_key_ring
from workers.secrets.unsealing import read_private_keys, sealed_for, unseal
from workers.storage.secret_keys import current_key, make_first


class Vault:
    """Opens sealed keys and encrypts them under the current key; reads key files when needed."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._read_private = partial(read_private_keys, folder, environment)
        self._private: dict[str, X25519PrivateKey] = {}
        self.keys = KeyRingReader(partial(read_key_ring, folder, environment))

    def to_envelope(self, key: KeyEncryptionKey, secret: SecretStr, binding: Binding) -> bytes:
        """Return a value in its stored form."""
        return encrypt(key, secret, binding)

    def read(self, envelope: bytes, binding: Binding) -> SecretStr:
        """Return a stored value; raises CredentialsUnavailableError."""
        return decrypt(self.keys.find, envelope, binding)

    def keys_here(self) -> frozenset[str]:
        """Return the ids of the keys that are here now, none where they cannot be read."""
        try:
            return frozenset(self.keys.read_again().keys)
        except KeysUnavailableError:
            return frozenset()

    def open(self, sealed: str, binding: Binding) -> SecretStr:
        """Return a sealed value.

        Raises CredentialsUnavailableError, its SealedForAnotherKeyError where the private key of
        that pair is not here, or KeysUnavailableError where none is.
        """
        pair = sealed_for(sealed)
        if pair not in self._private:
            self._private = self._read_private()
        if pair not in self._private:
            raise SealedForAnotherKeyError(
                f"sealed for the pair {pair}, whose private key is not here"
            )
        return unseal(self._private[pair], sealed, binding)

    def key_to_write_under(self, connection: Connection, now: datetime) -> KeyEncryptionKey:
        """Return the current key; the newest one becomes it where the database never knew any.

        Raises KeysUnavailableError where it is lost, or the keys here are those of another system.
        """
        current = current_key(connection)
        if current is None:
            current = make_first(connection, self.keys.read_again().newest.id, now)
        try:
            return self.keys.find(current)
        except CredentialsUnavailableError as error:
            raise KeysUnavailableError(
                f"the current key {current} cannot be used, so no LLM key is stored: {error}; "
                "restore it from a backup. If it is lost for good, "
                "`edgewise secrets init --despite-loss`"
            ) from None
