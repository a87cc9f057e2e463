"""Opening what was sealed, with the private key: for config workers alone."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.key_files import decode_key, read_key_file
from workers.secrets.sealing import SUITE, VERSION, sealing_info, sealing_key_id

PRIVATE_VARIABLE: Final = "EDGEWISE_SEALING_PRIVATE_KEY"
PRIVATE_FILE: Final = "sealing.private"


def read_private_key(folder: Path, environment: Mapping[str, str]) -> X25519PrivateKey:
    """Return the key to open with, from the environment or else the folder of keys.

    Raises KeysUnavailableError.
    """
    given = environment.get(PRIVATE_VARIABLE)
    raw = decode_key(given, PRIVATE_VARIABLE) if given else read_key_file(folder / PRIVATE_FILE)
    return X25519PrivateKey.from_private_bytes(raw)


def unseal(key: X25519PrivateKey, sealed: str, binding: Binding) -> SecretStr:
    """Return the secret; raises CredentialsUnavailableError where it is not whole or not for here.

    Nothing of the value is in the error.
    """
    version, _, rest = sealed.partition(".")
    key_id, _, text = rest.partition(".")
    if version != VERSION:
        raise CredentialsUnavailableError("the sealed value has an unknown form")
    if key_id != sealing_key_id(key.public_key()):
        raise CredentialsUnavailableError("the value was sealed for another key")
    try:
        # The refusal of InvalidTag is chained to nothing: its frames hold the plaintext.
        opened = SUITE.decrypt(_decode(text), key, sealing_info(binding))
        return SecretStr(opened.decode())
    except (InvalidTag, ValueError):
        raise CredentialsUnavailableError("the sealed value is damaged or not for here") from None


def _decode(text: str) -> bytes:
    """Return the bytes of base64url in its one canonical spelling; raises ValueError."""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.urlsafe_b64encode(raw).decode("ascii") != text:
        raise ValueError("not the canonical spelling")
    return raw
