"""The microphone: 20 ms chunks at 16 kHz from PortAudio, never waiting for who reads them."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import SoundError
from edge.media.resample import Resampler
from edge.sound import Format, find_format, open_stream
from schemas.audio import CHUNK_SAMPLES, PACKET_MS, SPEECH_RATE

MOST_CHUNKS: Final = 1000 // PACKET_MS
"""A reader that falls behind by a second misses the oldest."""
DEAF_S: Final = 3.0
QUIET_PEAK: Final = 100
"""-50 dBFS. Chunks that stay below it are handed over by threes: a third of the wake-ups."""
QUIET_CHUNKS: Final = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """320 samples, and when the last of them was captured on the monotonic clock."""

    samples: NDArray[np.int16]
    at: float


class Microphone:
    """An open microphone; `async with` opens and closes it."""

    def __init__(self, wanted: str | None) -> None:
        self._wanted = wanted
        self._raw: deque[tuple[bytes, float]] = deque(maxlen=MOST_CHUNKS)
        self._wake = asyncio.Event()
        self._stream: Any = None
        self.attentive = False
        """Set while speech is under way: then even quiet chunks are handed over at once."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._stream.close)

    def forget(self) -> None:
        """Drop what was captured and not read."""
        self._raw.clear()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield chunks as they are captured; raises SoundError when none comes any more."""
        shape = Shape(self.format)
        while True:
            while self._raw:
                data, at = self._raw.popleft()
                for samples in shape.push(data):
                    yield Chunk(samples, at)
            self._wake.clear()
            try:
                async with asyncio.timeout(DEAF_S):
                    await self._wake.wait()
            except TimeoutError as error:
                raise SoundError(
                    f"the microphone {self.format.name!r} went silent; is it still plugged in?"
                ) from error

    def _open(self) -> None:
        self.format = find_format("input", self._wanted, SPEECH_RATE)
        self._stream = open_stream("input", self.format, self._captured)

    def _captured(self, data: Any, _frames: int, _times: Any, _status: Any) -> None:
        """Keep what was captured; runs on PortAudio's thread."""
        kept = bytes(data)
        self._raw.append((kept, time.monotonic()))
        if not self.attentive and len(self._raw) < QUIET_CHUNKS and is_quiet(kept):
            return
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            return  # the loop is closed: the device is being shut down


def is_quiet(data: bytes) -> bool:
    """Tell whether no 16-bit sample is as loud as anything a detector could take for speech."""
    samples = np.frombuffer(data, dtype=np.int16)
    return int(samples.max(initial=0)) < QUIET_PEAK and int(samples.min(initial=0)) > -QUIET_PEAK


class Shape:
    """Turns what a device captures into chunks of 320 samples, 16 kHz, mono."""

    def __init__(self, captured: Format) -> None:
        self._channels = captured.channels
        self._resampler = Resampler(captured.rate, SPEECH_RATE)
        self._rest: NDArray[np.int16] = np.empty(0, np.int16)

    def push(self, data: bytes) -> list[NDArray[np.int16]]:
        """Return the chunks that are whole now."""
        samples = np.frombuffer(data, dtype=np.int16)
        if self._channels > 1:
            mixed = samples.reshape(-1, self._channels).mean(axis=1)
            samples = mixed.astype(np.int16)
        samples = self._resampler.push(samples)
        if self._rest.size:
            samples = np.concatenate((self._rest, samples))
        whole = samples.size - samples.size % CHUNK_SAMPLES
        self._rest = samples[whole:]
        return list(samples[:whole].reshape(-1, CHUNK_SAMPLES))
