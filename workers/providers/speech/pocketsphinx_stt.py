"""Speech to text by pocketsphinx, in processes of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from workers.errors import TranscriptionError
from workers.providers.speech.engine_pool import Engine, EngineGoneError, EnginePool
from workers.providers.speech.engine_wire import Frame
from workers.providers.speech.speech_level import SpeechLevel
from workers.providers.speech.sphinx_process import AUDIO, FINISH

MODULE: Final = "workers.providers.speech.sphinx_process"
CHUNK_BYTES: Final = 64_000
"""Two seconds of speech: the most that an engine is given at once."""
TRIES: Final = 2

log = structlog.get_logger(__name__)


class _Segment:
    """Speech that is still coming, kept whole so that another engine can take over."""

    def __init__(self) -> None:
        self.partial = ""
        self._level = SpeechLevel()
        self._audio = bytearray()
        self._ended = False
        self._changed = asyncio.Event()

    def add(self, samples: NDArray[np.int16]) -> None:
        self._audio += self._level.push(samples).tobytes()
        self._changed.set()

    def end(self) -> None:
        self._audio += self._level.finish().tobytes()
        self._ended = True
        self._changed.set()

    async def take(self, position: int) -> tuple[bytes, bool]:
        """Wait for speech beyond `position`; return it, and whether it is the last."""
        while position == len(self._audio) and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._audio[position : position + CHUNK_BYTES])
        return data, self._ended and position + len(data) == len(self._audio)


class _Listening:
    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._segment: _Segment | None = None
        self._tasks: list[asyncio.Task[str]] = []

    @property
    def partial(self) -> str:
        return self._segment.partial if self._segment else ""

    def push(self, samples: NDArray[np.int16]) -> None:
        if self._segment is None:
            self._segment = _Segment()
            decoding = _decode(self._pool, self._segment)
            self._tasks.append(asyncio.create_task(decoding, name="stt-segment"))
        self._segment.add(samples)

    def finish(self) -> Awaitable[str]:
        if self._segment is None:
            nothing: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            nothing.set_result("")
            return nothing
        self._segment.end()
        self._segment = None
        return self._tasks[-1]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _decode(pool: EnginePool, segment: _Segment) -> str:
    for left in reversed(range(TRIES)):
        try:
            async with pool.lease() as engine:
                return await _converse(engine, segment)
        except EngineGoneError as error:
            log.warning("stt_engine_lost", tries_left=left)
            lost = error
    raise TranscriptionError("the speech-to-text engine failed twice") from lost


async def _converse(engine: Engine, segment: _Segment) -> str:
    position = 0
    while True:
        data, last = await segment.take(position)
        await engine.send(Frame(FINISH if last else AUDIO, data))
        text = (await engine.receive()).payload.decode()
        if last:
            return text
        position += len(data)
        segment.partial = text


class PocketsphinxStt:
    """English speech to text; each segment under way has a decoder of its own."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[_Listening]:
        """Open an utterance; what is still being decoded at the end is dropped."""
        listening = _Listening(self._pool)
        try:
            yield listening
        finally:
            await listening.close()
