"""What a turn may expect of a text-to-speech engine; run on the fake and on the real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
from redis.asyncio import Redis

from schemas.agent import VOICES
from tests.fakes.turns import FakeTts
from workers.llm_stub.server import LlmStub
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, open_client
from workers.providers.speech.engine_breaker import ENGINE_RULE, EngineBreaker
from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.espeak_tts import MODULE, EspeakTts
from workers.providers.speech.openai_tts import OpenAiTts, TtsBudget
from workers.providers.speech.speech_endpoint import SpeechEndpoint
from workers.storage.turns.breakers import Breakers
from workers.turns.ports import Samples, TextToSpeech

RATE = 24_000
ALLOW = parse_allow("127.0.0.1")
OURS = {voice: voice for voice in VOICES}


@pytest.fixture(params=["fake", "espeak", "openai", "openai in odd pieces", "openai, dead"])
async def tts(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[TextToSpeech]:
    breakers = Breakers(redis, ENGINE_RULE, "tts")
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            yield FakeTts()
        elif request.param in ("openai", "openai in odd pieces"):
            stub = await stack.enter_async_context(LlmStub())
            model = "stub" if request.param == "openai" else "stub-odd"
            client = await stack.enter_async_context(open_client(Budget(), 10, ALLOW))
            endpoint = SpeechEndpoint(stub.base_url, model)
            yield OpenAiTts(client, endpoint, TtsBudget(), OURS, EngineBreaker(breakers, endpoint))
        else:
            built_in = EspeakTts(await stack.enter_async_context(EnginePool(MODULE, 2)))
            if request.param == "espeak":
                yield built_in
                return
            client = await stack.enter_async_context(open_client(Budget(), 10, ALLOW))
            endpoint = SpeechEndpoint("http://127.0.0.1:1/v1", "none")
            breaker = EngineBreaker(breakers, endpoint)
            yield OpenAiTts(client, endpoint, TtsBudget(), OURS, breaker, stand_in=built_in)


async def spoken(tts: TextToSpeech, text: str, voice: str = "ivy") -> Samples:
    async with tts.speak(text, voice) as pieces:
        return np.concatenate([piece async for piece in pieces])


@pytest.mark.parametrize("voice", VOICES)
async def test_every_voice_speaks_a_sentence(tts: TextToSpeech, voice: str) -> None:
    samples = await spoken(tts, "It is nice to meet you.", voice)
    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert 0.3 * RATE < samples.size < 6 * RATE
    assert np.abs(samples).max() > 500


async def test_the_same_sentence_is_as_long_each_time(tts: TextToSpeech) -> None:
    first, second = await spoken(tts, "Once more."), await spoken(tts, "Once more.")
    assert first.size == second.size


async def test_sentences_side_by_side_do_not_mix(tts: TextToSpeech) -> None:
    short, long = "Yes.", "This is a sentence that takes a good while to be said."
    alone = [(await spoken(tts, text)).size for text in (short, long)]
    together = await asyncio.gather(*[spoken(tts, text) for text in (short, long) * 4])
    assert [samples.size for samples in together] == alone * 4


async def test_a_sentence_may_be_left_in_the_middle(tts: TextToSpeech) -> None:
    for _ in range(4):
        async with tts.speak("This one is not heard to its end, not at all.", "ivy") as pieces:
            await anext(aiter(pieces))
    assert (await spoken(tts, "Still here.")).size


@pytest.mark.parametrize("text", ["<speak>&amp;</speak> [[h@l'oU]]", "x" * 1_500, "naïve 你好 🙂"])
async def test_any_text_is_survived(tts: TextToSpeech, text: str) -> None:
    async with tts.speak(text, "ivy") as pieces:
        async for _ in pieces:
            pass
    assert (await spoken(tts, "Still here.")).size
