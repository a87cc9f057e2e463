"""Text to speech by espeak-ng, in processes of its own."""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from edge.media.resample import Resampler
from schemas.audio import REPLY_RATE, OpusForm, unpack_packets
from workers.errors import SynthesisError
from workers.providers.speech.engine_pool import Engine, EngineGoneError, EnginePool
from workers.providers.speech.engine_wire import Frame
from workers.providers.speech.espeak_process import (
    ENCODE,
    END,
    ENGINE_RATE,
    GO_ON,
    GONE,
    LAST,
    SPEAK,
)

MODULE: Final = "workers.providers.speech.espeak_process"
TRIES: Final = 2

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class EspeakVoice:
    """One of the engine's voices and how many words a minute it speaks."""

    name: str
    words_per_minute: int = 165


VOICES: Final = {
    "ivy": EspeakVoice("en-us+f3"),
    "oliver": EspeakVoice("en+m3", 160),
    "skye": EspeakVoice("en-gb-scotland+f2", 175),
    "ruby": EspeakVoice("en-gb-x-rp+f4", 160),
}
"""Every voice of `schemas.agent.VOICES`, as espeak-ng spells it: language + variant."""


class EspeakTts:
    """English text to speech, 24 kHz mono."""

    def __init__(self, *pools: EnginePool) -> None:
        """Take one or more pools; a sentence that is made in parts stays with its pool.

        Where such sentences are spoken a pool has one process: another one knows nothing of them.
        """
        self._speaking = dict.fromkeys(pools, 0)
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[AsyncIterator[NDArray[np.int16]]]:
        """Stream the speech of one sentence; raises SynthesisError."""
        async with contextlib.aclosing(self._pieces(text, voice)) as pieces:
            yield pieces

    @contextlib.contextmanager
    def _a_pool(self) -> Iterator[EnginePool]:
        """Choose the pool that speaks the fewest sentences at this time."""
        pool = min(self._speaking, key=self._speaking.__getitem__)
        self._speaking[pool] += 1
        try:
            yield pool
        finally:
            self._speaking[pool] -= 1

    @contextlib.asynccontextmanager
    async def packets(
        self, text: str, voice: str, form: OpusForm, turn: Callable[[], Awaitable[float]]
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """Stream the speech of one sentence as Opus packets; raises SynthesisError.

        They are made in the engine's process, in parts, those first that are due first: `turn`
        waits before each part, and returns when it is heard.
        """
        name = {"id": next(self._numbers)}
        order = _order(text, VOICES[voice], ENCODE, {**name, "form": dataclasses.asdict(form)})
        go_on = Frame(GO_ON, json.dumps(name).encode())
        with self._a_pool() as pool:
            async with contextlib.aclosing(_parts(pool, order, go_on, turn)) as parts:
                yield parts

    async def _pieces(self, text: str, voice: str) -> AsyncGenerator[NDArray[np.int16], None]:
        """Yield pieces of speech, once the engine has made all of it: it takes milliseconds.

        Whoever waits for the engine must not wait for a listener who is in no hurry.
        """
        resampler = Resampler(ENGINE_RATE, REPLY_RATE)
        for frame in await self._spoken(_order(text, VOICES[voice], SPEAK)):
            yield resampler.push(np.frombuffer(frame, dtype=np.int16))
        yield resampler.flush()

    async def _spoken(self, order: Frame) -> list[bytes]:
        """Return the engine's pieces of PCM; an engine that dies is replaced once."""
        for left in reversed(range(TRIES)):
            try:
                with self._a_pool() as pool:
                    async with pool.lease() as engine:
                        await engine.send(order)
                        return [frame.payload async for frame in _answer(engine)]
            except EngineGoneError as error:
                log.warning("tts_engine_lost", tries_left=left)
                lost = error
        raise SynthesisError("the text-to-speech engine failed twice") from lost


async def _answer(engine: Engine) -> AsyncIterator[Frame]:
    while (frame := await engine.receive()).kind != END:
        yield frame


async def _parts(
    pool: EnginePool, order: Frame, go_on: Frame, turn: Callable[[], Awaitable[float]]
) -> AsyncGenerator[list[bytes], None]:
    """Yield part after part; where the engine has died, another begins the sentence anew."""
    ask, tries, given, made = order, 0, 0, 0
    while True:
        answer = await _asked(pool, ask, await turn())
        if answer is None or answer.kind == GONE:
            tries += 1
            log.warning("tts_engine_lost", tries_left=TRIES - tries)
            if tries == TRIES:
                raise SynthesisError("the text-to-speech engine failed twice")
            ask, made = order, 0
            continue
        packets = unpack_packets(answer.payload)
        yield list(packets[max(0, given - made) :])
        made += len(packets)
        given = max(given, made)
        if answer.kind == LAST:
            return
        ask = go_on


async def _asked(pool: EnginePool, order: Frame, due: float) -> Frame | None:
    """Return the one frame that an engine answers with; None if it died of it."""
    try:
        async with pool.lease(due) as engine:
            await engine.send(order)
            return await engine.receive()
    except EngineGoneError:
        return None


def _order(
    text: str, voice: EspeakVoice, kind: bytes, more: Mapping[str, object] | None = None
) -> Frame:
    order = {"text": text, "voice": voice.name, "rate": voice.words_per_minute, **(more or {})}
    return Frame(kind, json.dumps(order).encode())
