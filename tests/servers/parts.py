"""Single processes of the server side, each started alone as an operator would."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from tests.servers.system import clean_environment, command
from tests.servers.waiting import wait_for
from workers.settings import Settings

KEY = "test-key-0123456789"


@dataclass
class Part:
    """A running process; its log is what it wrote to standard error."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 5.0) -> float:
        """Send a signal; return how many seconds the process took to end."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(within)
        return time.monotonic() - began

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()


@contextlib.contextmanager
def running_part(
    settings: Settings, *words: str, port: int | None = 0, api_key: str | None = KEY
) -> Iterator[Part]:
    """Run `edgewise` with these words; its end is a kill where the test did not stop it."""
    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = environment(settings) | {"EDGEWISE_PORT": str(port)}
    if api_key is None:
        del variables["EDGEWISE_API_KEY"]
    log = home / f"{'-'.join(words)}-{time.monotonic_ns()}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [command("edgewise"), *words], cwd=home, env=variables, stderr=stream
        )
    try:
        yield Part(process, log)
    finally:
        process.kill()
        process.wait(5)


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables under which a process has these settings."""
    more = {
        "EDGEWISE_HOME": str(settings.home_path),
        "EDGEWISE_REDIS_URL": settings.redis_url or "",
        "EDGEWISE_BROKER_URL": settings.broker_url or "",
        "EDGEWISE_DATABASE_URL": settings.database,
        "EDGEWISE_PORT": "0",
        "EDGEWISE_LLM_GATEWAY_PORT": "0",
        "EDGEWISE_LLM_GATEWAY_MODELS": str(settings.llm_gateway_models or ""),
        "EDGEWISE_LOG_LEVEL": "DEBUG",
        "EDGEWISE_API_KEY": KEY,
        "EDGEWISE_LLM_ALLOW": settings.llm_allow,
        "EDGEWISE_LLM_FALLBACKS": str(settings.llm_fallbacks),
        "EDGEWISE_WEBHOOK_ALLOW": settings.webhook_allow,
        "EDGEWISE_LLM_PROBE_EVERY_S": str(settings.llm_probe_every_s),
    }
    return clean_environment(**more)


@contextlib.contextmanager
def running_gateway(settings: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    """Run `edgewise gateway`; yield it with a client that has the key."""
    with running_part(settings, "gateway") as part, client_of(settings, part, "gateway") as client:
        yield part, client


@contextlib.contextmanager
def client_of(settings: Settings, part: Part, name: str) -> Iterator[httpx.Client]:
    """Wait until a server says where it listens; yield a client of it that has the key."""
    file = settings.home_path / "run" / f"{name}.json"

    def listening() -> str | None:
        assert part.process.poll() is None, part.log.read_text()
        with contextlib.suppress(FileNotFoundError):
            said = json.loads(file.read_text())
            return str(said["url"]) if said["pid"] == part.process.pid else None
        return None

    url = wait_for(f"{name} listens", listening, within=30)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:
        yield client


@contextlib.contextmanager
def running_config_worker(settings: Settings) -> Iterator[Part]:
    """Run `edgewise worker config`; it takes events when this yields."""
    with running_part(settings, "worker", "config") as part:

        def ready() -> bool:
            assert part.process.poll() is None, part.log.read_text()
            return part.logged("config worker is ready")

        wait_for("the config worker is ready", ready, within=30)
        yield part


def configure(settings: Settings, **changes: object) -> Settings:
    """Return these settings with other values."""
    return settings.model_copy(update=changes)


def flush(settings: Settings) -> None:
    """Empty the Redis of these settings."""
    with redis.Redis.from_url(settings.redis_url or "") as client:
        client.flushdb()
