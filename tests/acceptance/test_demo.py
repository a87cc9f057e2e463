"""`edgewise demo`: a whole system, a question, an answer, and nothing left behind."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.listening import sounding_s
from tests.servers.system import clean_environment, command, end, processes_of
from tests.servers.waiting import wait_for

DEMO_S = 120.0
"""What the demo may take, set-up aside."""


class Demo:
    """A running demo whose temporary files, its system's home among them, lie in `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self._said = (folder / "said.txt").open("w+")
        (folder / "tmp").mkdir()
        self.process = subprocess.Popen(
            [command("edgewise"), "demo", "--out", str(folder / "reply.wav"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env=clean_environment(TMPDIR=str(folder / "tmp")),
            cwd=folder,
            start_new_session=True,
        )

    def said(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")

    def finish(self, within: float = 60) -> float:
        """Wait for its end and return how many seconds it took."""
        self.process.wait(within)
        self._said.close()
        return time.monotonic() - self.began

    def processes(self) -> list[psutil.Process]:
        """Return who works for the demo, itself included."""
        return processes_of(self.folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ew-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        end(processes_of(Path(name)))


def test_the_demo_answers_a_spoken_question_and_leaves_nothing(folder: Path) -> None:
    demo = Demo(folder)

    took = demo.finish()

    assert demo.process.returncode == 0, demo.said()
    assert took < DEMO_S, demo.said()
    assert sounding_s(folder / "reply.wav") > 0.5
    assert "agent_" in demo.said()
    assert demo.processes() == []
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.slow
def test_the_demo_asks_what_was_recorded(folder: Path, go_forward: Path) -> None:
    demo = Demo(folder, "--wav", str(go_forward))

    demo.finish()

    assert demo.process.returncode == 0, demo.said()
    assert "go forward ten meters" in demo.said()
    assert "EDGEWISE_MANAGED_LLM_BASE_URL" in demo.said()


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param("the system listens on", marks=pytest.mark.slow),
        pytest.param("POST /v1/agents", marks=pytest.mark.slow),
        "edgewise-device talk says",
    ],
)
def test_ctrl_c_in_the_middle_of_the_demo_leaves_nothing(folder: Path, sign: str) -> None:
    demo = Demo(folder)
    wait_for(sign, lambda: sign in demo.said(), within=40)
    assert demo.processes()

    demo.process.send_signal(signal.SIGINT)

    demo.finish(within=10)
    assert demo.process.returncode == 128 + signal.SIGINT, demo.said()
    assert "Traceback" not in demo.said()
    assert demo.processes() == []
    assert list((folder / "tmp").iterdir()) == []


def test_ctrl_c_while_the_demo_starts_leaves_nothing(folder: Path) -> None:
    demo = Demo(folder)
    wait_for("Redis", lambda: any(p.name() == "redis-server" for p in demo.processes()), within=40)

    demo.process.send_signal(signal.SIGINT)

    demo.finish(within=10)
    assert "Traceback" not in demo.said()
    assert demo.processes() == []
