import os
import signal
import subprocess
import wave
from pathlib import Path

import psutil
import pytest

from tests.integration.operate.conftest import COMMAND, clean_environment, is_gone, wait_until


def start_demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "demo", *options],
        env=clean_environment() | {"TMPDIR": str(folder), "COLUMNS": "100"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "d"
    made.mkdir()
    return made


@pytest.mark.slow
def test_the_demo_asks_hears_the_right_answers_and_leaves_only_the_reply(folder: Path) -> None:
    demo = start_demo(folder)
    told, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, told
    assert "you what is nine times seven" in told
    assert "agent That is 63." in told
    assert "agent It is" in told
    for stage in ("gate open", "speech to text", "first word of the model", "first audio made"):
        assert stage in told
    assert [file.name for file in folder.iterdir()] == ["demo-reply.wav"]
    with wave.open(str(folder / "demo-reply.wav")) as reply:
        assert reply.getnframes() / reply.getframerate() > 2


@pytest.mark.slow
def test_sigterm_in_the_middle_leaves_nothing_running(folder: Path) -> None:
    demo = start_demo(folder)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "gate open" in line:
            break
    everything = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGTERM)
    told, _ = demo.communicate(timeout=12)
    assert demo.returncode == 128 + signal.SIGTERM
    assert "nothing is left running" in told
    wait_until(lambda: all(is_gone(process) for process in everything), within_s=2)
    assert not [file for file in folder.iterdir() if file.name != "demo-reply.wav"]


def test_kill_9_of_the_demo_leaves_nothing_running(folder: Path) -> None:
    demo = start_demo(folder)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "gate open" in line:
            break
    everything = psutil.Process(demo.pid).children(recursive=True)
    assert len(everything) > 6
    os.kill(demo.pid, signal.SIGKILL)
    demo.wait()
    demo.stdout.close()
    wait_until(lambda: all(is_gone(process) for process in everything), within_s=8)


@pytest.mark.parametrize("content", [None, b"no sound at all"])
def test_a_recording_that_is_none_is_a_plain_error(folder: Path, content: bytes | None) -> None:
    wav = folder / "my.wav"
    if content is not None:
        wav.write_bytes(content)
    demo = start_demo(folder, "--wav", str(wav))
    told, _ = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert "my.wav" in told
    assert "Traceback" not in told
