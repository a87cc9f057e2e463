"""What `edgewise up` prints: addresses that are reached, and a line that can be pasted."""

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.operate.conftest import RunningUp, clean_environment
from workers.supervision.run_up import AGENT, agent_to_talk_to
from workers.supervision.up import System
from workers.supervision.welcome import url_from_outside, welcome

FILE = Path("/nowhere/a home/api_key")


def system_of(key_file: Path | None = FILE) -> System:
    return System("http://127.0.0.1:1", "http://127.0.0.1:2", "k", FILE.parent, key_file)


def line_to_paste(told: str) -> str:
    (line,) = (line for line in told.splitlines() if " run --server " in line)
    return line.strip()


def pasted(line: str, folder: Path) -> dict[str, str]:
    """Run a line of `doctor --json` in a shell that finds nothing of ours; return what it found."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env=clean_environment() | {"PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return {each["what"]: each["state"] for each in json.loads(done.stdout)}


async def test_the_line_to_paste_talks_to_the_oldest_agent(
    start_up: Callable[..., RunningUp], tmp_path: Path
) -> None:
    running = start_up()
    key = running.home / "api_key"
    llm_gateway = json.loads((running.home / "run" / "llm-gateway.json").read_text())["url"]
    system = System(running.url, llm_gateway, running.line["api_key"], running.home, key)
    made = await agent_to_talk_to(system)
    headers = {"Authorization": f"Bearer {system.api_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as http:
        assert (await http.get(f"/v1/agents/{made}")).json()["name"] == AGENT["name"]
        newer = await http.post("/v1/agents", json={**AGENT, "name": "Newer"})
        assert newer.status_code == 201, newer.text
    assert await agent_to_talk_to(system) == made

    told = welcome(system, made, "127.0.0.1")
    assert f"{llm_gateway}/v1" in told
    line = line_to_paste(told).replace(" run ", " doctor --json ")
    found = pasted(line, tmp_path)
    assert (found["server"], found["key and agent"]) == ("ok", "ok")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_where_it_listens_on_every_address_the_one_for_other_machines_is_told(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        url = httpx.URL(str(url_from_outside(f"http://127.0.0.1:{port}", host)))
        assert url.port == port
        assert url.host not in ("127.0.0.1", "::1", "0.0.0.0", "::")
        if url.host != socket.gethostname():  # a name where the machine has no way out
            socket.create_connection((url.host, port), timeout=5).close()
    assert "Other machines use" in welcome(system_of(), "agent_1", host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.168.1.20"])
def test_one_address_is_the_one_for_all(host: str) -> None:
    assert url_from_outside("http://192.168.1.20:8300", host) is None
    assert "Other machines" not in welcome(system_of(), "agent_1", host)


def test_the_command_to_paste_is_there_and_a_path_with_spaces_stays_one_word() -> None:
    line = line_to_paste(welcome(system_of(), "agent_1", "127.0.0.1"))
    key, program, *_ = shlex.split(line)
    assert key == f"EDGEWISE_API_KEY=$(cat {shlex.quote(str(FILE))})"
    assert os.access(program, os.X_OK)


def test_without_an_agent_or_a_key_file_no_wrong_value_is_in_the_line() -> None:
    told = welcome(system_of(key_file=None), None, "127.0.0.1")
    assert "None" not in told
    assert "No agent could be read" in told
    assert "another terminal that has the same EDGEWISE_API_KEY" in told
    assert "EDGEWISE_API_KEY" not in line_to_paste(told)


async def test_no_agent_is_told_where_none_can_be_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    system = System(url, url, "k", FILE.parent, FILE)
    assert await agent_to_talk_to(system) is None
