"""The page on webhooks: what it shows is run here as it stands."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.ids import agent_id_of
from tests.integration.rest.test_agents import create
from tests.servers.parts import KEY, configure, environment
from tests.servers.system import command
from tests.servers.waiting import wait_for
from workers.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()


@pytest.fixture(scope="module")
def module_settings(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(_env_file=None, home=home, redis_url=redis_url, port=0, llm_probe_every_s=0)
    return configure(settings, webhook_allow="127.0.0.1")


@pytest.fixture(scope="module")
def system_settings(own_settings: Settings) -> Settings:
    return own_settings


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def variables(client: httpx.Client, settings: Settings, **more: str) -> dict[str, str]:
    path = f"{Path(command('edgewise')).parent}:{os.environ['PATH']}"
    url = str(client.base_url).rstrip("/")
    given = {"EDGEWISE_SERVER": url, "EDGEWISE_API_KEY": KEY, "PATH": path}
    return environment(settings) | given | more


def applied(engine: Engine, external_id: str) -> list[str]:
    """The kinds of the changes that were applied to an agent, in order."""
    query = sa.text(
        "SELECT kind FROM config_events WHERE agent_id = :id AND status = 'applied' "
        "ORDER BY accepted_at"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"id": agent_id_of("default", external_id)})
        return [str(row[0]) for row in rows]


def test_the_shell_commands_work_one_after_another(
    client: httpx.Client, system_settings: Settings, tmp_path: Path, engine: Engine
) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks("sh"))],
        env=variables(client, system_settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall('{"event_id":"event_[0-9a-f]{32}"}', done.stdout)) == 2
    assert '"events":["session.ended"]' in done.stdout
    wanted = ["agent.upsert", "agent.delete"]
    wait_for("made and removed", lambda: applied(engine, "front-desk") == wanted)


def test_the_sender_in_python_works(
    client: httpx.Client, system_settings: Settings, engine: Engine
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        env=variables(client, system_settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = ["agent.upsert", "agent.llm.rotate", "agent.delete"]
    wait_for("made and removed", lambda: applied(engine, "customer-4711") == wanted)


def test_the_receiver_in_python_hears_and_refuses(
    client: httpx.Client, system_settings: Settings, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/edgewise"
    made = client.post("/v1/webhook-endpoints", json={"url": url}).json()
    more = {"WEBHOOK_SECRET": made["secret"], "PORT": str(port)}
    heard = tmp_path / "heard"
    with heard.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", blocks("python")[1]],
            env=variables(client, system_settings, **more),
            stdout=stream,
            stderr=subprocess.DEVNULL,
        )
    try:
        forged = {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,a"}

        def refuses() -> bool:
            try:
                return httpx.post(url, content=b"{}", headers=forged).status_code == 401
            except httpx.TransportError:
                return False

        wait_for("it listens", refuses)
        record = create(client)
        wait_for("it hears", lambda: str(record["id"]) in heard.read_text(), within=15)
        assert "config_event.applied" in heard.read_text()
    finally:
        process.kill()
        process.wait(5)
        client.delete(f"/v1/webhook-endpoints/{made['id']}")
