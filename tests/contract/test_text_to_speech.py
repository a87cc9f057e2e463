"""What a turn may expect of a text-to-speech engine; run on the fake and on the real one."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from schemas.agent import VOICES
from tests.fakes.turns import FakeTts
from workers.providers.engine_pool import EnginePool
from workers.providers.espeak_tts import MODULE, EspeakTts
from workers.turns.ports import Samples, TextToSpeech

RATE = 24_000


@pytest.fixture(params=["fake", "espeak"])
async def tts(request: pytest.FixtureRequest) -> AsyncIterator[TextToSpeech]:
    if request.param == "fake":
        yield FakeTts()
    else:
        async with EnginePool(MODULE, 2) as pool:
            yield EspeakTts(pool)


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
