"""Sealing: whoever has the public key can put a secret in, and cannot take it out again.

HPKE in base mode (RFC 9180): X25519, HKDF-SHA256, AES-256-GCM. The place that a value belongs
to is HPKE's `info`, so a value opens for that place alone.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import SecretStr

from workers.secrets.binding import Binding
from workers.secrets.key_files import decode_key, read_key_file

PUBLIC_VARIABLE: Final = "EDGEWISE_SEALING_PUBLIC_KEY"
PUBLIC_FILE: Final = "sealing.public"
VERSION: Final = "1"
READ_AGAIN_S: Final = 1.0
SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def read_public_key(folder: Path, environment: Mapping[str, str]) -> X25519PublicKey:
    """Return the key to seal with, from the environment or else the folder of keys.

    Raises KeysUnavailableError.
    """
    given = environment.get(PUBLIC_VARIABLE)
    raw = decode_key(given, PUBLIC_VARIABLE) if given else read_key_file(folder / PUBLIC_FILE)
    return X25519PublicKey.from_public_bytes(raw)


class PublicKeyReader:
    """Reads the key to seal with, and again after a second: it may be replaced meanwhile."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._read: tuple[X25519PublicKey, float] | None = None

    def read(self) -> X25519PublicKey:
        """Return the key; raises KeysUnavailableError."""
        now = time.monotonic()
        if self._read is None or now - self._read[1] > READ_AGAIN_S:
            self._read = read_public_key(self._folder, self._environment), now
        return self._read[0]


def seal(key: X25519PublicKey, secret: SecretStr, binding: Binding) -> str:
    """Return the sealed value as `version.key-id.ciphertext`, the last in base64url."""
    sealed = SUITE.encrypt(secret.get_secret_value().encode(), key, sealing_info(binding))
    return f"{VERSION}.{sealing_key_id(key)}.{base64.urlsafe_b64encode(sealed).decode('ascii')}"


def sealing_key_id(key: X25519PublicKey) -> str:
    """Name a key pair by its public half: 16 hexadecimal digits."""
    return hashlib.sha256(b"edgewise sealing key\0" + key.public_bytes_raw()).hexdigest()[:16]


def sealing_info(binding: Binding) -> bytes:
    """Return what is bound into a sealed value besides its text."""
    return b"edgewise sealed value 1\0" + binding.encoded()
