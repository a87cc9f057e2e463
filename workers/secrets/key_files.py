"""The folder of keys: what lies there, who may read it, and how a file gets there whole."""

import base64
import binascii
import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from workers.errors import KeysUnavailableError

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
OTHERS: Final = 0o077
KEY_BYTES: Final = 32


def keys_folder(home: Path) -> Path:
    """Return where the keys of a home lie."""
    return home / "keys"


def read_key_file(file: Path) -> bytes:
    """Return the 32 bytes of a key file; raises KeysUnavailableError, which says how to mend it."""
    try:
        _check_private(file.parent, f"chmod {FOLDER_MODE:o}")
        _check_private(file, f"chmod {FILE_MODE:o}")
        text = file.read_text(encoding="ascii")
    except FileNotFoundError:
        raise KeysUnavailableError(
            f"{file} is missing: restore it from a backup; docs/keys.md says how"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeysUnavailableError(f"{file} cannot be read: {type(error).__name__}") from None
    return decode_key(text, str(file))


def decode_key(text: str, where: str) -> bytes:
    """Return the 32 bytes that `text` spells in base64; raises KeysUnavailableError."""
    try:
        key = base64.b64decode(text.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise KeysUnavailableError(f"{where} does not hold a key: 32 bytes in base64")
    return key


def encode_key(key: bytes) -> str:
    """Return a key as the text of a file or a variable."""
    return base64.b64encode(key).decode("ascii")


def make_folder(folder: Path) -> None:
    """Make the folder of keys and the home around it (0700) where they are missing.

    Raises KeysUnavailableError.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        folder.mkdir(exist_ok=True, mode=FOLDER_MODE)
    except OSError as error:
        raise KeysUnavailableError(f"{folder} cannot be made: {error.strerror}") from None


def write_key_file(file: Path, key: bytes, *, replace: bool = False) -> None:
    """Store a key (0600), on the disk when this returns; never half a file.

    It belongs to whom the folder belongs, also where root makes it for another user. Raises
    FileExistsError where there is one and `replace` is not set.
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            if os.geteuid() == 0:
                os.fchown(descriptor, file.parent.stat().st_uid, -1)
            stream.write(f"{encode_key(key)}\n")
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            draft.replace(file)
        else:
            file.hardlink_to(draft)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    _sync(file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_draft(file: Path) -> bool:
    """Tell whether this is what a kill left of a file that was being written."""
    return file.name.startswith(".") and file.suffix == ".new"


def _check_private(path: Path, mend: str) -> None:
    about, user = path.stat(), os.geteuid()
    # Root may look after the home of the user that the parts run as.
    if user not in (0, about.st_uid):
        raise KeysUnavailableError(f"{path} belongs to another user: `chown {user} {path}` as root")
    if stat.S_IMODE(about.st_mode) & OTHERS:
        raise KeysUnavailableError(f"{path} is open to other users: `{mend} {path}`")
