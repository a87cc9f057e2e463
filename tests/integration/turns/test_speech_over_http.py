"""Whole spoken turns whose ear and voice are at the other end of HTTP."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from schemas.apology import BUILT_IN, apology_key
from schemas.turn import Pause, Resume, Transcript
from tests.integration.turns.conftest import Gateway, Heard, StartWorker, opus, recording
from tests.servers.model_server import ModelServer, Request
from workers.llm_stub.server import SPEECH, TRANSCRIPTIONS
from workers.providers.speech.engine_breaker import engine_name
from workers.providers.speech.speech_endpoint import SpeechEndpoint
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("fresh_model", "worker"),
]


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker, model: ModelServer) -> Iterator[subprocess.Popen[bytes]]:
    engines = {
        f"EDGEWISE_{kind}_{name}": value
        for kind in ("STT", "TTS")
        for name, value in {
            "ENGINE": "openai",
            "BASE_URL": model.base_url,
            "MODEL": "stub",
            "API_KEY": "sk-very-secret",
        }.items()
    }
    voices = {"EDGEWISE_TTS_VOICE": "ivy=ivy,oliver=oliver,skye=skye,ruby=ruby"}
    with start_worker(**engines, **voices, EDGEWISE_STT_TOTAL_S="15") as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def redis(worker_settings: Settings) -> AsyncIterator[Redis]:
    client = connect(worker_settings)
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def breakers(redis: Redis) -> AsyncIterator[Breakers]:
    """What another turn worker knows of the transcription engine; forgotten after the test."""
    yield Breakers(redis, BreakerRule(failures=1, open_s=300), "stt")
    for key in await redis.keys("*:breaker:*"):
        await redis.delete(key)


def is_apology(request: Request) -> bool:
    return request.body.get("input") == BUILT_IN.text


async def conversed(gateway: Gateway) -> Heard:
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.finish()
    return await turn.hear_out()


async def test_a_turn_is_understood_and_spoken_over_http(
    gateway: Gateway, model: ModelServer, redis: Redis
) -> None:
    heard = await conversed(gateway)
    assert heard.transcript == "seven of clubs"
    assert heard.text == "You said: seven of clubs."
    assert heard.done.status == "completed"
    assert 1.0 < heard.audio.size / 16_000 < 5.0
    assert np.abs(heard.audio).max() > 3_000
    paths = [request.path for request in model.requests if not is_apology(request)]
    assert paths == [TRANSCRIPTIONS, "/v1/chat/completions", SPEECH]
    async with asyncio.timeout(10):  # what the gateway says speaks with the same voice
        while not await redis.exists(apology_key(gateway.agent.id)):  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.01)
    assert [r.body["voice"] for r in model.requests if is_apology(r)] == ["ivy"]


async def test_what_was_said_shows_at_a_pause_and_costs_no_request_of_its_own(
    gateway: Gateway, model: ModelServer
) -> None:
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.write(Pause())
    shown = await turn.listen(lambda entry: isinstance(entry, Transcript))
    assert shown.entries[-1][1] == Transcript(attempt=1, text="seven of clubs", final=False)
    await turn.write(Resume())
    await turn.speak(opus(recording("cards/004.wav")), pace=0)
    await turn.finish()
    assert (await turn.hear_out()).transcript == "seven of clubs five five"
    asked = [request.path for request in model.requests]
    assert asked.count(TRANSCRIPTIONS) == 2


@pytest.mark.usefixtures("breakers")
async def test_engines_that_fail_over_http_are_replaced_by_those_of_the_machine(
    gateway: Gateway, model: ModelServer
) -> None:
    model.scripts = {TRANSCRIPTIONS: "500", SPEECH: "500"}
    heard = await conversed(gateway)
    assert heard.transcript == "seven of clubs"
    assert heard.text == "You said: seven of clubs."
    assert heard.done.status == "completed"
    assert heard.audio.size > 16_000


async def test_what_one_worker_learns_of_an_engine_all_of_them_know(
    gateway: Gateway, model: ModelServer, breakers: Breakers
) -> None:
    name = engine_name(SpeechEndpoint(model.base_url, "stub"))
    model.scripts = {TRANSCRIPTIONS: "500"}
    assert (await conversed(gateway)).transcript == "seven of clubs"
    assert await breakers.states([name]) == ["failing"]

    await breakers.succeeded(name)
    model.scripts = {}
    model.requests.clear()
    await breakers.failed(name)
    assert (await conversed(gateway)).transcript == "seven of clubs"
    assert TRANSCRIPTIONS not in [request.path for request in model.requests]

    await breakers.succeeded(name)
    assert (await conversed(gateway)).transcript == "seven of clubs"
    assert TRANSCRIPTIONS in [request.path for request in model.requests]
