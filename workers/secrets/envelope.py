"""The form in which a secret is stored: AES-256-GCM under a data key of its own.

    1 byte    version of this form
    8 bytes   id of the key-encryption key
    12 bytes  nonce      } the data key under the key-encryption key;
    48 bytes  ciphertext } associated data: the two fields above and the value's place
    12 bytes  nonce      } the value under the data key;
    n bytes   ciphertext } associated data: version and the value's place

To move a value to another key-encryption key, only the data key is wrapped anew.
"""

import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.key_ring import KEY_ID_BYTES, KeyEncryptionKey

VERSION: Final = b"\x01"
_NONCE: Final = 12
_TAG: Final = 16
_WRAPPED: Final = 32 + _TAG
_KEY_ID_END: Final = 1 + KEY_ID_BYTES
_WRAP_END: Final = _KEY_ID_END + _NONCE + _WRAPPED
_SHORTEST: Final = _WRAP_END + _NONCE + _TAG

FindKey = Callable[[str], KeyEncryptionKey]
"""From a key's id to the key; raises CredentialsUnavailableError."""


def encrypt(key: KeyEncryptionKey, secret: SecretStr, binding: Binding) -> bytes:
    """Return the secret in its stored form."""
    data_key = AESGCM.generate_key(256)
    nonce = os.urandom(_NONCE)
    value = AESGCM(data_key).encrypt(
        nonce, secret.get_secret_value().encode(), _value_data(binding)
    )
    return _wrap(key, data_key, binding) + nonce + value


def decrypt(find_key: FindKey, envelope: bytes, binding: Binding) -> SecretStr:
    """Return the secret; raises CredentialsUnavailableError for a lost key or a damaged value."""
    data_key = _unwrap(find_key, envelope, binding)
    rest = envelope[_WRAP_END:]
    try:
        value = AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], _value_data(binding))
        return SecretStr(value.decode())
    except (InvalidTag, UnicodeDecodeError):
        raise _damaged() from None


def rewrap(
    find_key: FindKey, current: KeyEncryptionKey, envelope: bytes, binding: Binding
) -> bytes:
    """Return the same value under `current`; raises as `decrypt` does."""
    data_key = _unwrap(find_key, envelope, binding)
    return _wrap(current, data_key, binding) + envelope[_WRAP_END:]


def key_id_of(envelope: bytes) -> str:
    """Return which key-encryption key a stored value is under; raises as `decrypt` does."""
    if len(envelope) < _SHORTEST or envelope[:1] != VERSION:
        raise CredentialsUnavailableError("the stored value has an unknown form")
    return envelope[1:_KEY_ID_END].hex()


def _wrap(key: KeyEncryptionKey, data_key: bytes, binding: Binding) -> bytes:
    head = VERSION + bytes.fromhex(key.id)
    nonce = os.urandom(_NONCE)
    return head + nonce + key.cipher().encrypt(nonce, data_key, _wrap_data(head, binding))


def _unwrap(find_key: FindKey, envelope: bytes, binding: Binding) -> bytes:
    key = find_key(key_id_of(envelope))
    head, nonce = envelope[:_KEY_ID_END], envelope[_KEY_ID_END : _KEY_ID_END + _NONCE]
    wrapped = envelope[_KEY_ID_END + _NONCE : _WRAP_END]
    try:
        return key.cipher().decrypt(nonce, wrapped, _wrap_data(head, binding))
    except InvalidTag:
        raise _damaged() from None


def _wrap_data(head: bytes, binding: Binding) -> bytes:
    return b"edgewise data key\0" + head + binding.encoded()


def _value_data(binding: Binding) -> bytes:
    return b"edgewise value\0" + VERSION + binding.encoded()


def _damaged() -> CredentialsUnavailableError:
    return CredentialsUnavailableError("the stored value is damaged or not for here")
