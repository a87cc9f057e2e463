import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from tests.integration.operate.conftest import (
    COMMAND,
    RunningUp,
    clean_environment,
    is_gone,
    wait_until,
)
from workers.commands.check_circuits import check_circuits
from workers.settings import Settings

StartUp = Callable[..., RunningUp]


def is_ready(system: RunningUp) -> bool:
    try:
        return httpx.get(f"{system.url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_up_says_in_one_line_where_it_listens_and_is_ready_then(start_up: StartUp) -> None:
    system = start_up()
    assert is_ready(system)
    assert system.line["pid"] == system.process.pid
    assert system.line["home"] == str(system.home)
    assert set(system.parts) == {"redis", "llm-gateway", "gateway", "config", "turns"}
    agents = httpx.get(
        f"{system.url}/v1/agents", headers={"Authorization": f"Bearer {system.line['api_key']}"}
    )
    assert agents.json()["agents"] == []


def test_the_key_is_private_stays_and_is_on_no_command_line_and_in_no_log(
    start_up: StartUp,
) -> None:
    system = start_up()
    key = system.line["api_key"]
    assert (system.home / "api_key").read_text().strip() == key
    assert stat.S_IMODE((system.home / "api_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(system.home.stat().st_mode) == 0o700
    for process in system.everything():
        assert key not in " ".join(process.cmdline())
    for log in (system.home / "logs").iterdir():
        assert key not in log.read_text()


def test_a_killed_turn_worker_is_back_soon_and_its_engines_are_gone(start_up: StartUp) -> None:
    system = start_up()
    worker = psutil.Process(system.parts["turns"])
    engines = worker.children(recursive=True)
    began = time.monotonic()
    worker.kill()
    with Redis.from_url(f"unix://{system.home / 'redis' / 'redis.sock'}") as redis:
        names = set(redis.zrange("presence:turns", 0, -1))
        wait_until(lambda: set(redis.zrange("presence:turns", 0, -1)) - names)
    took = time.monotonic() - began
    wait_until(lambda: all(is_gone(engine) for engine in engines))
    assert took < 15, f"the turn worker was back after {took:.1f} s"


def is_replaced(system: RunningUp, name: str, before: int) -> bool:
    return system.parts[name] != before


def test_each_part_that_is_killed_comes_back_under_the_same_address(start_up: StartUp) -> None:
    system = start_up()
    for name in ("gateway", "llm-gateway", "redis", "config"):
        before = system.parts[name]
        os.kill(before, signal.SIGKILL)
        wait_until(partial(is_replaced, system, name, before))
    wait_until(lambda: is_ready(system), within_s=30)
    assert "ended with SIGKILL" in system.errors.read_text()


def test_a_taken_port_is_said_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        failed = subprocess.run(
            [*COMMAND, "up", "--json"],
            env=clean_environment(home=str(tmp_path / "home"), port=port),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert failed.returncode == 1
    assert f"port {port}" in failed.stderr
    assert "set EDGEWISE_PORT (0 takes a free one)" in failed.stderr
    assert "gateway ended with" in failed.stderr
    leftovers = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("EDGEWISE_HOME") == str(tmp_path / "home")
        and not is_gone(process)
    ]
    assert leftovers == []


def test_sigint_while_it_starts_stops_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [*COMMAND, "up", "--json"],
        env=clean_environment(home=str(home), port="0"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((home / "run" / "parts.json").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == ""
    assert all(is_gone(child) for child in children)


def test_a_wrong_setting_is_named_and_its_value_is_not_shown() -> None:
    failed = subprocess.run(
        [sys.executable, "-m", "workers.main", "doctor"],
        env=clean_environment(port="70000", api_key="short-secret"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "EDGEWISE_PORT" in failed.stderr
    assert "EDGEWISE_API_KEY" in failed.stderr
    assert "short-secret" not in failed.stderr


def test_as_many_turn_workers_run_as_asked_for(start_up: StartUp) -> None:
    system = start_up(turn_workers="2")
    assert {"turns", "turns-2"} < set(system.parts)


@pytest.mark.parametrize("home", ["home", pytest.param("x" * 120, marks=pytest.mark.slow)])
def test_health_says_which_part_of_this_machine_serves(start_up: StartUp, home: str) -> None:
    system = start_up(home)
    environment = clean_environment(home=str(system.home))

    def health(part: str) -> "subprocess.CompletedProcess[str]":
        command = [*COMMAND, "health", part]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    parts = ("gateway", "llm-gateway", "turns", "config")
    wait_until(lambda: all(health(part).returncode == 0 for part in parts), within_s=40)
    assert check_circuits(Settings(_env_file=None, home=system.home)).found == "none"
    system.process.send_signal(signal.SIGTERM)
    system.process.wait(10)
    for part in parts:
        done = health(part)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert "Error" not in done.stderr
