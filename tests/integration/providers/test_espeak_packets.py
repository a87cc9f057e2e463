"""Sentences that the built-in engine encodes itself, part by part, in real processes."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from edge.media.opus import OpusDecoder
from schemas.audio import PACKET_MS, REPLY_RATE, OpusForm
from workers.errors import SynthesisError
from workers.providers.speech import espeak_process, espeak_tts
from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.espeak_tts import MODULE, EspeakTts

FORM = OpusForm(28_000, 1, "audio")
VARIES = 3
"""espeak-ng says the same sentence a few milliseconds longer or shorter, packets of it."""
LONG = "This is a sentence that takes a good while to be said, so it is made in several parts."


@pytest.fixture
async def tts() -> AsyncIterator[EspeakTts]:
    async with EnginePool(MODULE, 1) as one, EnginePool(MODULE, 1) as other:
        yield EspeakTts(one, other)


async def now() -> float:
    return 0.0


async def parts(tts: EspeakTts, text: str) -> list[list[bytes]]:
    async with tts.packets(text, "ivy", FORM, now) as made:
        return [part async for part in made]


def length(made: list[list[bytes]]) -> int:
    return sum(len(part) for part in made)


def engines() -> list[psutil.Process]:
    """Return the processes that speak; their hosts only fork."""
    hosts = [p for p in psutil.Process().children() if MODULE in " ".join(p.cmdline())]
    return [child for host in hosts for child in host.children()]


async def test_the_parts_are_the_whole_sentence(tts: EspeakTts) -> None:
    async with tts.speak(LONG, "ivy") as pieces:
        samples = sum([piece.size async for piece in pieces])

    made = await parts(tts, LONG)

    assert 20 <= len(made[0]) <= 25
    assert len(made) >= 3
    packets = [packet for part in made for packet in part]
    assert abs(len(packets) - samples * 1000 / (REPLY_RATE * PACKET_MS)) <= VARIES
    heard = OpusDecoder(REPLY_RATE).decode_all(packets)
    assert abs(heard).max() > 1_000


async def test_sentences_at_once_do_not_mix(tts: EspeakTts) -> None:
    texts = [LONG, "Hello.", "What a fine day it is today, is it not?"]
    alone = [await parts(tts, text) for text in texts]
    at_once = await asyncio.gather(*[parts(tts, text) for text in texts * 5])
    for made, same in zip(at_once, alone * 5, strict=True):
        assert abs(length(made) - length(same)) <= VARIES


async def test_a_sentence_goes_on_where_its_engine_dies_between_two_parts(tts: EspeakTts) -> None:
    whole = [packet for part in await parts(tts, LONG) for packet in part]
    heard: list[bytes] = []
    async with tts.packets(LONG, "ivy", FORM, now) as made:
        async for part in made:
            if not heard:
                for engine in engines():
                    engine.kill()
            heard += part
    assert abs(len(heard) - len(whole)) <= VARIES


async def test_an_engine_that_fails_twice_is_an_error(
    tts: EspeakTts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(espeak_tts.VOICES, "ivy", espeak_tts.EspeakVoice("nobody's"))
    async with tts.packets(LONG, "ivy", FORM, now) as made:
        with pytest.raises(SynthesisError):
            await anext(made)


async def test_an_engine_with_too_many_begun_sentences_begins_the_forgotten_one_anew() -> None:
    async with EnginePool(MODULE, 1) as pool:
        tts = EspeakTts(pool)
        whole = [packet for part in await parts(tts, LONG) for packet in part]
        async with tts.packets(LONG, "ivy", FORM, now) as made:
            heard = list(await anext(made))
            for _ in range(espeak_process.MAX_OPEN + 1):
                async with tts.packets(LONG, "ivy", FORM, now) as begun:
                    await anext(begun)
            heard += [packet async for part in made for packet in part]
    assert abs(len(heard) - len(whole)) <= VARIES
