"""Text to speech by espeak-ng, in processes of its own."""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from edge.media.resample import Resampler
from schemas.audio import REPLY_RATE
from workers.errors import SynthesisError
from workers.providers.speech.engine_pool import Engine, EngineGoneError, EnginePool
from workers.providers.speech.engine_wire import Frame
from workers.providers.speech.espeak_process import END, ENGINE_RATE, SPEAK

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

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool

    @contextlib.asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[AsyncIterator[NDArray[np.int16]]]:
        """Stream the speech of one sentence; raises SynthesisError."""
        async with contextlib.aclosing(self._pieces(text, voice)) as pieces:
            yield pieces

    async def _pieces(self, text: str, voice: str) -> AsyncGenerator[NDArray[np.int16], None]:
        """Yield pieces of speech, once the engine has made all of it: it takes milliseconds.

        Whoever waits for the engine must not wait for a listener who is in no hurry.
        """
        resampler = Resampler(ENGINE_RATE, REPLY_RATE)
        for frame in await self._spoken(_order(text, VOICES[voice])):
            yield resampler.push(np.frombuffer(frame, dtype=np.int16))
        yield resampler.flush()

    async def _spoken(self, order: Frame) -> list[bytes]:
        """Return the engine's pieces of PCM; an engine that dies is replaced once."""
        for left in reversed(range(TRIES)):
            try:
                async with self._pool.lease() as engine:
                    await engine.send(order)
                    return [frame.payload async for frame in _answer(engine)]
            except EngineGoneError as error:
                log.warning("tts_engine_lost", tries_left=left)
                lost = error
        raise SynthesisError("the text-to-speech engine failed twice") from lost


async def _answer(engine: Engine) -> AsyncIterator[Frame]:
    while (frame := await engine.receive()).kind != END:
        yield frame


def _order(text: str, voice: EspeakVoice) -> Frame:
    order = {"text": text, "voice": voice.name, "rate": voice.words_per_minute}
    return Frame(SPEAK, json.dumps(order).encode())
