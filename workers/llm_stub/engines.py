"""The built-in speech engines behind the stub's audio, started by the first who asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from edge.media.resample import Resampler
from schemas.agent import VOICES
from schemas.audio import SPEECH_RATE
from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.espeak_tts import MODULE as ESPEAK
from workers.providers.speech.espeak_tts import EspeakTts
from workers.providers.speech.pocketsphinx_stt import MODULE as SPHINX
from workers.providers.speech.pocketsphinx_stt import PocketsphinxStt

PROCESSES: Final = 4
"""Of each engine; who finds none free waits."""
CHUNK: Final = 2 * SPEECH_RATE
"""Samples that are decoded between two looks at everything else."""

Samples = NDArray[np.int16]


class Engines:
    """Speech to text and text to speech; use it with `async with`."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._pools: dict[str, EnginePool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def transcribe(self, samples: Samples, rate: int) -> str:
        """Return the words in mono speech; raises TranscriptionError."""
        engine = PocketsphinxStt(await self._pool(SPHINX))
        resampler = Resampler(rate, SPEECH_RATE)
        async with engine.listen() as listening:
            for start in range(0, samples.size, CHUNK):
                listening.push(resampler.push(samples[start : start + CHUNK]))
            listening.push(resampler.flush())
            return await listening.finish()

    async def speak(self, text: str, voice: str) -> AsyncIterator[Samples]:
        """Yield speech, 24 kHz mono; an unknown voice is the first one. Raises SynthesisError."""
        engine = EspeakTts(await self._pool(ESPEAK))
        known = voice if voice in VOICES else next(iter(VOICES))
        async with engine.speak(text, known) as pieces:
            async for piece in pieces:
                yield piece

    async def _pool(self, module: str) -> EnginePool:
        async with self._opening:
            if module not in self._pools:
                pool = EnginePool(module, PROCESSES)
                self._pools[module] = await self._stack.enter_async_context(pool)
            return self._pools[module]
