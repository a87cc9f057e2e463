"""`edgewise up`: the whole system on one machine, kept running until it is told to stop."""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.errors import KeysUnavailableError
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.supervision.embedded_redis import redis_socket
from workers.supervision.follow_logs import LogFollower
from workers.supervision.home import Home, hold, open_home, read_or_make_key, write_atomically
from workers.supervision.start import start_system
from workers.supervision.stores import check_stores
from workers.supervision.supervise import Supervisor

LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class System:
    """A system that is up."""

    url: str
    llm_gateway_url: str
    api_key: str
    home: Path
    key_file: Path | None
    """None where the key came from EDGEWISE_API_KEY."""

    def as_json(self) -> str:
        """Return the one line of `edgewise up --json`."""
        line = {"url": self.url, "api_key": self.api_key, "pid": os.getpid()}
        return json.dumps({**line, "home": str(self.home)})


async def up(
    settings: Settings,
    *,
    told: Callable[[str], None],
    ready: Callable[[System], Awaitable[None]],
) -> None:
    """Run the system until this task is cancelled; `ready` is awaited once it serves.

    `told` hears what happens in plain words. Raises an EdgewiseError that says why where the
    system does not come up; whatever had started is stopped again.
    """
    home = open_home(settings.home_path)
    await check_stores(settings)
    with hold(home) as lock, _private_redis(settings, home) as socket:
        key_file = None if settings.api_key else home.key_file
        key = settings.api_key.get_secret_value() if settings.api_key else read_or_make_key(home)
        _make_keys(home.path, told)
        async with Supervisor(home.run, home.logs, told=told, inherited=(lock,)) as parts:
            listening = await start_system(settings, home, parts, key=key, socket=socket, told=told)
            parts.settle()
            await ready(System(*listening, key, home.path, key_file))
            await _report_errors(home.logs, told)


@contextlib.contextmanager
def _private_redis(settings: Settings, home: Home) -> Iterator[Path]:
    """Yield where a private Redis listens; `run/redis.json` says it to commands of this home."""
    file = home.run / "redis.json"
    with redis_socket(home.redis) as socket:
        if not settings.redis_url:
            write_atomically(file, {"url": f"unix://{socket}"})
        try:
            yield socket
        finally:
            file.unlink(missing_ok=True)


def _make_keys(home: Path, told: Callable[[str], None]) -> None:
    """Make the keys of a new home; where that fails only agents with own models suffer."""
    try:
        for made in make_missing_keys(keys_folder(home), os.environ):
            told(f"made in {keys_folder(home)}: {made}")
    except KeysUnavailableError as error:
        told(str(error))


async def _report_errors(logs: Path, told: Callable[[str], None]) -> None:
    follower = LogFollower(logs)
    while True:
        for line in await asyncio.to_thread(follower.new_errors):
            told(line)
        await asyncio.sleep(LOOK_EVERY_S)
