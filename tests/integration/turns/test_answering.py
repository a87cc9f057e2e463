"""A worker process answers what people said, through real Opus, Redis, Celery and engines."""

import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.turn import Done, ReplyAudio, ReplyText, Started, Transcript
from tests.integration.turns.conftest import Gateway, opus
from tests.servers.model_server import ModelServer
from workers.storage.history import Exchange

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("worker"),
]

SPEECH = Path("/usr/share/pocketsphinx/test/data")
UNDERSTOOD = {
    "goforward.raw": "go forward ten meters",
    "something.raw": "go somewhere and do something",
    "cards/001.wav": "ten of clubs",
    "cards/003.wav": "seven of clubs",
    "cards/004.wav": "five five",
}


def recording(name: str) -> NDArray[np.int16]:
    if name.endswith(".raw"):
        return np.fromfile(SPEECH / name, dtype="<i2")
    with wave.open(str(SPEECH / name), "rb") as source:
        return np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")


@pytest.fixture(autouse=True)
def _fresh_model(model: ModelServer) -> None:
    model.script, model.token_s = None, 0.0
    model.requests.clear()


@pytest.mark.parametrize(("name", "words"), UNDERSTOOD.items())
async def test_what_a_person_said_is_answered(gateway: Gateway, name: str, words: str) -> None:
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording(name)))
    await turn.finish()
    heard = await turn.hear_out()

    assert heard.transcript == words
    assert heard.text == f"You said: {words}."
    assert heard.done.status == "completed"
    assert 1.0 < heard.audio.size / 16_000 < 5.0
    assert np.abs(heard.audio).max() > 3_000
    print(heard.done.metrics)
