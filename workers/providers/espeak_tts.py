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
from workers.providers.engine_pool import Engine, EngineGoneError, EnginePool
from workers.providers.engine_wire import Frame
from workers.providers.espeak_process import END, ENGINE_RATE, SPEAK

MODULE: Final = "workers.providers.espeak_process"
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
        """Yield pieces of speech; an engine that dies before the first is replaced once."""
        order = _order(text, VOICES[voice])
        begun = False
        for left in reversed(range(TRIES)):
            try:
                async with self._pool.lease() as engine:
                    async for piece in _resampled(engine, order):
                        begun = True
                        yield piece
            except EngineGoneError as error:
                log.warning("tts_engine_lost", tries_left=left)
                if begun or not left:
                    raise SynthesisError("the text-to-speech engine failed") from error
            else:
                return


def _order(text: str, voice: EspeakVoice) -> Frame:
    order = {"text": text, "voice": voice.name, "rate": voice.words_per_minute}
    return Frame(SPEAK, json.dumps(order).encode())


async def _resampled(engine: Engine, order: Frame) -> AsyncIterator[NDArray[np.int16]]:
    resampler = Resampler(ENGINE_RATE, REPLY_RATE)
    await engine.send(order)
    while (frame := await engine.receive()).kind != END:
        yield resampler.push(np.frombuffer(frame.payload, dtype=np.int16))
    yield resampler.flush()
