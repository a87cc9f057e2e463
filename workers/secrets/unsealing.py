"""Opening what was sealed, with the private key: for config workers alone."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError, SealedForAnotherKeyError
from workers.secrets.binding import Binding
from workers.secrets.key_files import decode_key, read_key_file
from workers.secrets.sealing import SUITE, VERSION, sealing_info, sealing_key_id

PRIVATE_VARIABLE: Final = "EDGEWISE_SEALING_PRIVATE_KEY"
PRIVATE_FILE: Final = "sealing.private"
FORMER_FILES: Final = "sealing-*.private"
"""Private keys of pairs that were replaced, for what is sealed still."""


def read_private_key(folder: Path, environment: Mapping[str, str]) -> X25519PrivateKey:
    """Return the newest key to open with, from the environment or else the folder of keys.

    Raises KeysUnavailableError.
    """
    return next(iter(read_private_keys(folder, environment).values()))


def read_private_keys(folder: Path, environment: Mapping[str, str]) -> dict[str, X25519PrivateKey]:
    """Return all keys to open with, by the id of their pair, the newest first.

    Raises KeysUnavailableError.
    """
    if given := environment.get(PRIVATE_VARIABLE):
        found = [decode_key(part, PRIVATE_VARIABLE) for part in given.split(",")]
    else:
        files = [folder / PRIVATE_FILE, *sorted(folder.glob(FORMER_FILES))]
        found = [read_key_file(file) for file in files]
    keys = [X25519PrivateKey.from_private_bytes(raw) for raw in found]
    return {sealing_key_id(key.public_key()): key for key in keys}


def sealed_for(sealed: str) -> str:
    """Return the id of the pair that a value was sealed for.

    Raises CredentialsUnavailableError where it has no form that this release knows.
    """
    version, _, rest = sealed.partition(".")
    if version != VERSION:
        raise CredentialsUnavailableError("the sealed value has an unknown form")
    return rest.partition(".")[0]


def unseal(key: X25519PrivateKey, sealed: str, binding: Binding) -> SecretStr:
    """Return the secret; raises CredentialsUnavailableError where it is not whole or not for here.

    SealedForAnotherKeyError where it is for another pair. Nothing of the value is in the error.
    """
    if sealed_for(sealed) != sealing_key_id(key.public_key()):
        raise SealedForAnotherKeyError("the value was sealed for another key")
    try:
        # The refusal of InvalidTag is chained to nothing: its frames hold the plaintext.
        opened = SUITE.decrypt(_decode(_ciphertext(sealed)), key, sealing_info(binding))
        return SecretStr(opened.decode())
    except (InvalidTag, ValueError):
        raise CredentialsUnavailableError("the sealed value is damaged or not for here") from None


def _ciphertext(sealed: str) -> str:
    return sealed.split(".", 2)[2] if sealed.count(".") > 1 else ""


def _decode(text: str) -> bytes:
    """Return the bytes of base64url in its one canonical spelling; raises ValueError."""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.urlsafe_b64encode(raw).decode("ascii") != text:
        raise ValueError("not the canonical spelling")
    return raw
