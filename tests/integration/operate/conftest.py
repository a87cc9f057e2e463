import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil
import pytest

from tests.servers import system

COMMAND = [sys.executable, "-m", "workers.main"]


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without any setting of ours but these."""
    return system.clean_environment(
        **{f"EDGEWISE_{name.upper()}": value for name, value in settings.items()}
    )


def wait_until(condition: Callable[[], object], within_s: float = 15.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class StartLine(TypedDict):
    """What `edgewise up --json` says when it is ready."""

    pid: int
    home: str
    url: str
    api_key: str


@dataclass
class RunningUp:
    """An `edgewise up --json` of the test's own."""

    process: subprocess.Popen[str]
    line: StartLine
    home: Path
    errors: Path

    @property
    def url(self) -> str:
        return self.line["url"]

    @property
    def parts(self) -> dict[str, int]:
        parts: dict[str, int] = json.loads((self.home / "run" / "parts.json").read_text())
        return parts

    def everything(self) -> list[psutil.Process]:
        """Every process of the system, engines included."""
        up = psutil.Process(self.process.pid)
        return [up, *up.children(recursive=True)]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., RunningUp]]:
    """Starts systems and ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(home: str = "home", **settings: str) -> RunningUp:
        errors = tmp_path / f"{len(started)}.err"
        settings = {"home": str(tmp_path / home), "port": "0"} | settings
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [*COMMAND, "up", "--json"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean_environment(**settings),
                cwd=tmp_path,
                text=True,
            )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, errors.read_text()
        return RunningUp(process, json.loads(line), Path(settings["home"]), errors)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
