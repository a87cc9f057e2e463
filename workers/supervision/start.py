"""The order in which the parts of a system start, and how it is known that they serve."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import EdgewiseError
from workers.secrets.key_ring import KEYS_VARIABLE
from workers.secrets.secret_box import BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_VARIABLE
from workers.settings import Settings
from workers.supervision.embedded_redis import redis_command
from workers.supervision.home import Home
from workers.supervision.supervise import Part, Supervisor

READY_S: Final = 30.0
POLL_S: Final = 0.05
HTTP_OK: Final = 200
FORWARDED: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
"""What the private Redis sees of the environment: nothing of ours, no secret."""
MANAGED_KEY: Final = "EDGEWISE_MANAGED_LLM_API_KEY"
KEPT_FROM: Final = {
    "gateway": {PRIVATE_VARIABLE, KEYS_VARIABLE, MANAGED_KEY},
    "llm-gateway": {PRIVATE_VARIABLE, KEYS_VARIABLE, BOX_VARIABLE},
    "config": {MANAGED_KEY},
    "turns": {PRIVATE_VARIABLE, BOX_VARIABLE},
}
"""What a part does not see of the environment: keys that it has no use for."""


class Listening(NamedTuple):
    """The URLs under which this machine reaches what listens."""

    gateway: str
    llm_gateway: str


class NotReadyError(EdgewiseError):
    """The system did not come up in time; the message says what it still waited for."""


async def start_system(
    settings: Settings,
    home: Home,
    parts: Supervisor,
    *,
    key: str,
    socket: Path,
    told: Callable[[str], None],
) -> Listening:
    """Start every part, in the order of need, and return where it listens once it is ready.

    Raises PartEndedError or NotReadyError (after 30 s) with the end of the log in question.
    """
    start = _Start(settings, home, parts, key, told)
    try:
        async with asyncio.timeout(READY_S), httpx.AsyncClient(trust_env=False) as http:
            await start.redis(socket)
            llm_gateway = await start.front(http)
            return Listening(await start.workers(http), llm_gateway)
    except TimeoutError:
        raise NotReadyError(
            f"not up after {READY_S:.0f} s; still waiting for {start.waiting_for}.\n"
            f"The end of {parts.end_of_log(start.suspect)}"
        ) from None


def _ours(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "workers.main", *words)


class _Start:
    """One start: the steps, and what is waited for right now."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        parts: Supervisor,
        key: str,
        told: Callable[[str], None],
    ) -> None:
        self.waiting_for = ""
        self.suspect = "redis"
        self._settings = settings
        self._home = home
        self._parts = parts
        self._told = told
        self._env = {**os.environ, "EDGEWISE_HOME": str(home.path), "EDGEWISE_API_KEY": key}

    async def redis(self, socket: Path) -> None:
        """Start the private Redis, unless the operator named one."""
        if self._settings.redis_url:
            self._env["EDGEWISE_REDIS_URL"] = self._settings.redis_url
            return
        self._env["EDGEWISE_REDIS_URL"] = f"unix://{socket}"
        command = tuple(redis_command(self._home.redis, socket))
        env = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        await self._parts.start(
            Part("redis", command, env, stage=0, stop_s=1.0, orphaned=signal.SIGTERM)
        )
        async with Redis(unix_socket_path=str(socket), socket_timeout=1) as client:

            async def answers() -> bool:
                try:
                    return bool(await client.ping())
                except (RedisError, OSError) as error:
                    self.waiting_for = f"the private Redis ({type(error).__name__})"
                    return False

            await self._until(answers, "Redis", "redis")

    async def front(self, http: httpx.AsyncClient) -> str:
        """Start what listens, and the config worker; return the LLM gateway's URL."""
        for name in ("gateway.json", "llm-gateway.json"):
            (self._home.run / name).unlink(missing_ok=True)
        given = self._settings.model_fields_set
        llm_port = self._settings.llm_gateway_port if "llm_gateway_port" in given else 0
        llm_env = {**self._seen("llm-gateway"), "EDGEWISE_LLM_GATEWAY_PORT": str(llm_port)}
        gateway_env = {**self._seen("gateway"), "EDGEWISE_PORT": str(self._settings.port)}
        config_env = self._seen("config")
        await self._parts.start(
            Part("llm-gateway", _ours("llm-gateway"), llm_env, stage=1, stop_s=0.7)
        )
        await self._parts.start(Part("config", _ours("worker", "config"), config_env, stage=2))
        await self._parts.start(Part("gateway", _ours("gateway"), gateway_env, stage=3))
        url = await self._address("llm-gateway")
        await self._serves(http, f"{url}/healthz", "LLM gateway", "llm-gateway")
        port = str(httpx.URL(url).port)
        self._env["EDGEWISE_LLM_GATEWAY_PORT"] = port
        self._parts.pin("llm-gateway", EDGEWISE_LLM_GATEWAY_PORT=port)
        return url

    async def workers(self, http: httpx.AsyncClient) -> str:
        """Start the turn worker; return the gateway's URL once it finds all that it needs."""
        for number in range(1, self._settings.turn_workers + 1):
            name = "turns" if number == 1 else f"turns-{number}"
            turns_env = self._seen("turns")
            await self._parts.start(Part(name, _ours("worker", "turns"), turns_env, stage=2))
        url = await self._address("gateway")
        self._parts.pin("gateway", EDGEWISE_PORT=str(httpx.URL(url).port))
        await self._serves(http, f"{url}/readyz", "gateway and workers", "gateway")
        return url

    def _seen(self, part: str) -> dict[str, str]:
        return {name: value for name, value in self._env.items() if name not in KEPT_FROM[part]}

    async def _address(self, part: str) -> str:
        file = self._home.run / f"{part}.json"

        async def written() -> bool:
            self.waiting_for = f"the {part} to listen"
            return file.exists()

        await self._until(written, None, part)
        return str(json.loads(file.read_text())["url"])

    async def _serves(self, http: httpx.AsyncClient, url: str, what: str, part: str) -> None:
        async def ok() -> bool:
            try:
                answer = await http.get(url, timeout=5)
            except httpx.HTTPError as error:
                self.waiting_for = f"{url} ({type(error).__name__})"
                return False
            self.waiting_for = f"{url} ({answer.status_code}: {answer.text[:300]})"
            return answer.status_code == HTTP_OK

        await self._until(ok, what, part)

    async def _until(
        self, holds: Callable[[], Awaitable[bool]], what: str | None, suspect: str
    ) -> None:
        began = time.monotonic()
        self.suspect = suspect
        while not await holds():
            self._parts.check()
            await asyncio.sleep(POLL_S)
        if what:
            self._told(f"{what} ready after {time.monotonic() - began:.1f} s")
