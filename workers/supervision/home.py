"""The folder of one system: who may read it, who runs in it, and its API key."""

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ConfigurationError

PRIVATE = 0o700
OTHERS = 0o077
LOCK_WAIT_S = 6.0
"""How long a system that was killed may take to let go of its home, in seconds."""


@dataclass(frozen=True)
class Home:
    """Where things lie in a home."""

    path: Path

    @property
    def run(self) -> Path:
        """What belongs to the running system: addresses, process ids, the lock."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.path / "logs"

    @property
    def redis(self) -> Path:
        """The data of the private Redis."""
        return self.path / "redis"

    @property
    def key_file(self) -> Path:
        """The API key that was made here."""
        return self.path / "api_key"


def open_home(path: Path) -> Home:
    """Return the home, made if it is missing and closed to other users (0700).

    Raises ConfigurationError for a folder that is not ours to close.
    """
    home = Home(path)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        _close_to_others(path)
        for folder in (home.run, home.logs, home.redis):
            folder.mkdir(exist_ok=True, mode=PRIVATE)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {path} ({error.strerror}): set EDGEWISE_HOME to a folder of your own"
        ) from None
    return home


def _close_to_others(path: Path) -> None:
    about = path.stat()
    if about.st_uid != os.geteuid():
        raise ConfigurationError(f"{path} belongs to another user: set EDGEWISE_HOME")
    if stat.S_IMODE(about.st_mode) & OTHERS:
        if any(path.iterdir()) and not (path / "run").is_dir():
            # Not a home of ours: it might be /tmp or someone's project.
            raise ConfigurationError(
                f"{path} is open to other users and is no Edgewise home: "
                f"`chmod 700 {path}`, or set EDGEWISE_HOME to another folder"
            )
        path.chmod(PRIVATE)


def read_or_make_key(home: Home) -> str:
    """Return the API key of this home, made and stored (0600) at the first call."""
    with contextlib.suppress(FileExistsError):
        file = os.open(home.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as stream:
            stream.write(f"ew_{secrets.token_urlsafe(32)}\n")
    if stat.S_IMODE(home.key_file.stat().st_mode) & OTHERS:
        home.key_file.chmod(0o600)
    key = home.key_file.read_text().strip()
    if not key:
        raise ConfigurationError(f"{home.key_file} is empty: remove it, and a key is made anew")
    return key


@contextlib.contextmanager
def hold(home: Home) -> Iterator[int]:
    """Hold the home for this process and yield the lock's file descriptor.

    Raises ConfigurationError at once where a live system holds it. What a killed one left
    behind is given a few seconds to end; a child that inherits the descriptor holds the lock
    with us, so a home is free only when the last of them is gone.
    """
    descriptor = os.open(home.run / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, home)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Home) -> None:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        if _is_alive(owner) or time.monotonic() > until:
            raise ConfigurationError(
                f"already running in {home.path} (process {owner or 'unknown'}): "
                "stop it, or set EDGEWISE_HOME to another folder"
            )
        time.sleep(0.05)


def _is_alive(process: str) -> bool:
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_atomically(file: Path, content: object) -> None:
    """Write `content` as JSON so that a reader sees the old file or the new one, never half."""
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(content))
    draft.replace(file)
