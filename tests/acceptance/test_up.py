"""`edgewise up`: one command runs the whole system, keeps to its home, and leaves nothing."""

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import (
    STOP_S,
    System,
    clean_environment,
    command,
    end,
    processes_of,
    start_system,
)
from tests.servers.waiting import wait_for


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ew-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        for home in Path(name).glob("home*"):
            end(processes_of(home))


def all_of(system: System) -> list[psutil.Process]:
    family = psutil.Process(system.pid).children(recursive=True)
    return [psutil.Process(system.pid), *{*family, *system.processes()}]


def survivors(processes: list[psutil.Process], within: float) -> list[psutil.Process]:
    """Return who still runs after `within` seconds; a zombie only waits for init."""
    _, alive = psutil.wait_procs(processes, timeout=within)
    return [process for process in alive if runs(process)]


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_sigterm_ends_everything_within_five_seconds(folder: Path) -> None:
    system = start_system(folder / "home")
    everyone = all_of(system)
    assert len(everyone) >= 6, everyone

    assert system.stop(signal.SIGTERM) < STOP_S

    assert system.process.returncode == 0
    assert not survivors(everyone, within=1)
    assert not processes_of(system.home)


@pytest.mark.slow
def test_sigint_ends_everything_too(folder: Path) -> None:
    system = start_system(folder / "home")
    everyone = all_of(system)

    assert system.stop(signal.SIGINT) < STOP_S

    assert not survivors(everyone, within=1)


@pytest.mark.slow
def test_a_killed_system_leaves_no_process_and_its_home_can_be_used_again(folder: Path) -> None:
    system = start_system(folder / "home")
    agent = system.agent(name="Survivor")
    everyone = all_of(system)

    os.kill(system.pid, signal.SIGKILL)
    system.process.wait(5)

    assert not survivors(everyone, within=6)
    again = start_system(folder / "home")
    answer = httpx.get(f"{again.url}/v1/agents/{agent}", headers=again.headers, timeout=10)
    assert answer.json()["name"] == "Survivor"
    again.stop()


def test_all_that_is_written_lies_in_the_home_and_is_closed_to_others(
    folder: Path, model: Model, go_forward: Path
) -> None:
    elsewhere = {name: folder / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for path in elsewhere.values():
        path.mkdir()
    system = start_system(
        folder / "home",
        EDGEWISE_MANAGED_LLM_BASE_URL=model.url,
        **{name: str(path) for name, path in elsewhere.items()},
    )
    model.says("Yes.")
    assert talk(system, system.agent(), go_forward).code == 0
    opened = {
        Path(file.path)
        for process in all_of(system)
        for file in process.open_files()
        if getattr(file, "mode", "r") != "r"
    }
    system.stop()

    assert {file for file in opened if not file.is_relative_to(folder / "home")} <= {
        folder / "home.stderr"
    }
    left = [file for path in elsewhere.values() for file in path.rglob("*") if file.is_file()]
    assert left == []
    assert stat.S_IMODE((folder / "home").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "home" / "api_key").stat().st_mode) == 0o600
    key = (folder / "home" / "api_key").read_text().strip()
    assert key == system.api_key
    for log in (folder / "home" / "logs").iterdir():
        assert key not in log.read_text(errors="replace"), log


@pytest.mark.slow
def test_two_systems_run_side_by_side(
    system: System, model: Model, agent: str, folder: Path, go_forward: Path
) -> None:
    other = start_system(folder / "home")
    try:
        assert other.url != system.url
        assert other.api_key != system.api_key
        other_agent = other.agent(name="Offline")
        refused = httpx.get(f"{system.url}/v1/agents", headers=other.headers, timeout=10)
        assert refused.status_code == 401
        model.says("I am the first.")
        talks = [start_talk(system, agent, go_forward), start_talk(other, other_agent, go_forward)]
        managed, offline = [talking.finish() for talking in talks]
        assert managed.turn["reply_text"] == "I am the first."
        assert offline.code == 0, offline
        assert "EDGEWISE_MANAGED_LLM_BASE_URL" in offline.turn["reply_text"], offline
    finally:
        other.stop()


def test_a_second_system_on_the_same_home_says_that_one_runs_already(system: System) -> None:
    second = subprocess.run(
        [command("edgewise"), "up", "--json"],
        env=clean_environment(EDGEWISE_HOME=str(system.home), EDGEWISE_PORT="0"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=system.home.parent,
    )
    assert second.returncode != 0
    assert str(system.pid) in second.stderr, second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize("name", ["gateway", "turns", "config", "llm-gateway"])
def test_a_part_that_dies_is_started_again(system: System, name: str) -> None:
    before = system.part(name)
    assert before is not None, (system.home / "run" / "parts.json").read_text()
    psutil.Process(before).kill()

    wait_for(f"another {name}", lambda: system.part(name) not in {None, before})
    wait_for("a ready system", system.is_ready, within=20)
