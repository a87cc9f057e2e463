"""What a turn may expect of a speech-to-text engine; run on the fake and on the real ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
from redis.asyncio import Redis

from tests.fakes.turns import FakeStt
from workers.llm_stub.server import LlmStub
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, open_client
from workers.providers.speech import engine_pool
from workers.providers.speech.engine_breaker import ENGINE_RULE, EngineBreaker
from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.openai_stt import OpenAiStt, SttBudget
from workers.providers.speech.pocketsphinx_stt import MODULE, PocketsphinxStt
from workers.providers.speech.scripted_stt import HEARD, ScriptedStt
from workers.providers.speech.speech_endpoint import SpeechEndpoint
from workers.storage.turns.breakers import Breakers
from workers.turns.ports import Samples, SpeechToText

SPEECH: Samples = np.fromfile("/usr/share/pocketsphinx/test/data/goforward.raw", dtype="<i2")
ALLOW = parse_allow("127.0.0.1")
SAID = "go forward ten meters"


@pytest.fixture(params=["fake", "scripted", "pocketsphinx", "openai", "openai, its server dead"])
async def stt(
    request: pytest.FixtureRequest, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[SpeechToText, str]]:
    """An engine and what it makes of the recording, on a machine that other work shares."""
    monkeypatch.setattr(engine_pool, "ANSWER_S", 60.0)
    breakers = Breakers(redis, ENGINE_RULE, "stt")
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            yield FakeStt(*[SAID] * 3), SAID
        elif request.param == "scripted":
            yield ScriptedStt(), HEARD
        elif request.param == "openai":
            stub = await stack.enter_async_context(LlmStub())
            client = await stack.enter_async_context(open_client(Budget(), 10, ALLOW))
            endpoint = SpeechEndpoint(stub.base_url, "stub")
            yield (
                OpenAiStt(
                    client, endpoint, SttBudget(total_s=20), EngineBreaker(breakers, endpoint)
                ),
                SAID,
            )
        else:
            built_in = PocketsphinxStt(await stack.enter_async_context(EnginePool(MODULE, 3)))
            if request.param == "pocketsphinx":
                yield built_in, SAID
                return
            client = await stack.enter_async_context(open_client(Budget(), 10, ALLOW))
            endpoint = SpeechEndpoint("http://127.0.0.1:1/v1", "none")
            breaker = EngineBreaker(breakers, endpoint)
            yield OpenAiStt(client, endpoint, SttBudget(), breaker, stand_in=built_in), SAID


async def test_what_is_pushed_in_pieces_is_understood(stt: tuple[SpeechToText, str]) -> None:
    engine, said = stt
    async with engine.listen() as listening:
        for start in range(0, SPEECH.size, 640):
            listening.push(SPEECH[start : start + 640])
        assert await listening.finish() == said


async def test_a_segment_is_understood_apart_from_the_one_before(
    stt: tuple[SpeechToText, str],
) -> None:
    engine, said = stt
    async with engine.listen() as listening:
        listening.push(SPEECH)
        first = listening.finish()
        listening.push(SPEECH)
        second = listening.finish()
        assert (await first, await second) == (said, said)
        assert await first == said


async def test_a_segment_without_audio_is_empty(stt: tuple[SpeechToText, str]) -> None:
    engine, _ = stt
    async with engine.listen() as listening:
        assert listening.partial == ""
        assert await listening.finish() == ""


async def test_utterances_side_by_side_do_not_mix(stt: tuple[SpeechToText, str]) -> None:
    engine, said = stt

    async def utterance() -> str:
        async with engine.listen() as listening:
            listening.push(SPEECH)
            return await listening.finish()

    assert list(await asyncio.gather(utterance(), utterance(), utterance())) == [said] * 3


async def test_an_utterance_may_be_left_in_the_middle(stt: tuple[SpeechToText, str]) -> None:
    engine, said = stt
    for _ in range(4):
        async with engine.listen() as listening:
            listening.push(SPEECH)
    async with engine.listen() as listening:
        listening.push(SPEECH)
        assert await listening.finish() == said
