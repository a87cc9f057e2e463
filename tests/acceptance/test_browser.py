"""A browser is a WebRTC peer like any other: it never opens the data channel and gets an answer."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.caller_page import CallerPage
from tests.acceptance.model import Model
from tests.acceptance.recordings import RATE, read_wav, write_wav
from tests.servers.system import System, wait_for

CHROMIUM = "chromium"


@contextmanager
def chromium(url: str, microphone: Path) -> Iterator[None]:
    """Run a browser without a window on this page, its microphone hearing this recording once."""
    binary = shutil.which(CHROMIUM)
    assert binary, "install Debian's chromium"
    with tempfile.TemporaryDirectory(prefix="ew-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                binary,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def question(go_forward: Path, tmp_path: Path) -> Path:
    """The recording with silence around it: the page takes a moment to be connected."""
    import numpy as np

    samples, rate = read_wav(go_forward)
    assert rate == RATE
    before, after = np.zeros(4 * RATE, np.int16), np.zeros(30 * RATE, np.int16)
    return write_wav(tmp_path / "question.wav", np.concatenate([before, samples, after]))


@pytest.mark.parametrize(
    "hides_addresses", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["open", "hidden"]
)
def test_a_browser_that_only_sends_audio_hears_the_answer(
    system: System, model: Model, agent: str, question: Path, *, hides_addresses: bool
) -> None:
    model.says("The train leaves at seven. It arrives in the morning.")
    caller = CallerPage(system.url, system.api_key, agent, hides_addresses=hides_addresses)
    with caller as page, chromium(page.url, question):
        wait_for("the browser connected", lambda: page.latest("connected"), within=40)
        wait_for("the question at the model", lambda: model.requests, within=40)
        quiet_before = page.latest("packetsReceived") or 0
        wait_for(
            "two seconds of reply packets",
            lambda: (page.latest("packetsReceived") or 0) - quiet_before > 100,
            within=30,
        )
        wait_for("sound in them", lambda: (page.latest("totalAudioEnergy") or 0) > 0.001)

    assert "forward" in model.last_user_message()
    assert page.errors == []
