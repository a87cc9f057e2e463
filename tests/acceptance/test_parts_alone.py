"""Each part starts alone, and they find each other through Redis and the database only."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.talking import Talking
from tests.servers.databases import database_of
from tests.servers.system import clean_environment, command
from tests.servers.waiting import wait_for
from workers.supervision.embedded_redis import private_redis

KEY = "a-key-of-the-operators-own-0123456789"


@contextmanager
def part(folder: Path, *arguments: str, **environment: str) -> Iterator[Path]:
    """Run one part with a home of its own and yield that home; it ends at SIGTERM."""
    home = folder / "-".join(arguments)
    home.mkdir()
    with (folder / f"{home.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [command("edgewise"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,
            env=clean_environment(EDGEWISE_HOME=str(home), EDGEWISE_API_KEY=KEY, **environment),
        )
    try:
        yield home
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"`edgewise {' '.join(arguments)}` ignored SIGTERM") from None


def address(home: Path, name: str) -> str:
    """Return the URL at which a part says that it listens."""
    file = home / "run" / f"{name}.json"
    wait_for(f"{name} to listen", file.exists, within=30)
    return str(json.loads(file.read_text())["url"])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """The URL of a gateway behind which every part runs by itself."""
    with ExitStack() as running:
        redis = running.enter_context(private_redis(tmp_path / "redis"))
        shared = {
            "EDGEWISE_REDIS_URL": redis,
            "EDGEWISE_DATABASE_URL": database_of(tmp_path) or f"sqlite:///{tmp_path / 'shared.db'}",
        }
        llm_home = running.enter_context(
            part(tmp_path, "llm-gateway", EDGEWISE_LLM_GATEWAY_PORT="0", **shared)
        )
        home = running.enter_context(part(tmp_path, "gateway", EDGEWISE_PORT="0", **shared))
        llm_port = address(llm_home, "llm-gateway").removesuffix("/v1").rsplit(":", 1)[1]
        shared["EDGEWISE_LLM_GATEWAY_PORT"] = llm_port
        for kind in ("turns", "config"):
            running.enter_context(part(tmp_path, "worker", kind, **shared))
        url = address(home, "gateway")
        wait_for("readiness", lambda: _ready(url), within=30)
        yield url


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_parts_that_were_started_one_by_one_hold_a_conversation(
    gateway: str, go_forward: Path
) -> None:
    agent = httpx.post(
        f"{gateway}/v1/agents",
        json={"name": "A", "system_prompt": "Be brief.", "voice": {"voice_id": "ivy"}},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=20,
    ).json()["id"]

    heard = Talking(
        ["--server", gateway, "--agent", agent, "--json", "--wav", str(go_forward)], KEY
    ).finish()

    assert heard.code == 0, heard
    assert heard.turn["transcript"] == "go forward ten meters"
    assert "EDGEWISE_MANAGED_LLM_BASE_URL" in heard.turn["reply_text"], heard
