"""A conversation whose ear and voice are another server's, which is killed between two turns."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.listening import sounding_s
from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk
from tests.servers.system import System, clean_environment, command, running_system
from tests.servers.waiting import wait_for
from workers.llm_stub.server import SPEECH, TRANSCRIPTIONS

pytestmark = pytest.mark.slow


class SpeechServer:
    """`edgewise llm-stub` in a process of its own."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [command("edgewise"), "llm-stub", "--json", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean_environment(),
                text=True,
            )
        assert self.process.stdout is not None
        self.url = str(json.loads(self.process.stdout.readline())["url"])

    def answered(self, path: str) -> int:
        """Return how many requests for a path it has answered."""
        return sum(
            "answered" in line and path in line for line in self._log.read_text().splitlines()
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SpeechServer]:
    server = SpeechServer(tmp_path / "speech.log")
    yield server
    server.kill()


def test_speech_goes_over_http_and_once_that_server_is_killed_through_the_built_in_engines(
    server: SpeechServer, model: Model, go_forward: Path, tmp_path: Path
) -> None:
    model.says("Three two one zero.", "I am still here.")
    speech = {
        f"EDGEWISE_{kind}_{name}": value
        for kind in ("STT", "TTS")
        for name, value in {"ENGINE": "openai", "BASE_URL": server.url, "MODEL": "stub"}.items()
    }
    with running_system(
        **speech,
        EDGEWISE_STT_TOTAL_S="15",
        EDGEWISE_TTS_FIRST_BYTE_S="15",
        EDGEWISE_MANAGED_LLM_BASE_URL=model.url,
        EDGEWISE_MANAGED_LLM_MODEL="scripted",
    ) as system:
        reply = tmp_path / "reply.wav"
        talking = start_talk(system, system.agent(), go_forward, go_forward, out=reply)
        try:
            wait_for("a reply spoken over HTTP", lambda: server.answered(SPEECH), within=60)
            assert server.answered(TRANSCRIPTIONS)
            assert not failures(system)
        finally:
            server.kill()
        heard = talking.finish()
        failed = failures(system)

    assert heard.code == 0, heard
    assert [turn["transcript"] for turn in heard.turns] == ["go forward ten meters"] * 2
    assert [turn["reply_text"] for turn in heard.turns] == [
        "Three two one zero.",
        "I am still here.",
    ]
    assert [turn["error"] for turn in heard.turns] == [None, None]
    assert all(turn["reply_audio_s"] > 0.5 for turn in heard.turns), heard
    assert sounding_s(reply) > 1
    assert failed == {"stt_failed", "tts_failed"}


def failures(system: System) -> set[str]:
    """Return which failures of speech the turn worker has on record."""
    logged = {str(event["event"]) for event in system.events("turns")}
    return logged & {"stt_failed", "tts_failed"}
