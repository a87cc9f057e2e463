"""The speaker: PortAudio asks for the next samples, the reply line has them ready."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge.media.resample import Resampler
from edge.playout import SILENCE
from edge.reply_line import ReplyLine
from edge.settings import REPLY_RATE
from edge.sound import Format, find_format, open_stream


class Speaker:
    """An open speaker that plays what a reply line holds; `async with` opens and closes it."""

    def __init__(self, wanted: str | None, line: ReplyLine) -> None:
        self._wanted = wanted
        self._line = line
        self._stream: Any = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._stream.close)

    def _open(self) -> None:
        self.format = find_format("output", self._wanted, REPLY_RATE)
        self._feed = Feed(self._line, self.format)
        self._stream = open_stream("output", self.format, self._asked)

    def _asked(self, out: Any, frames: int, _times: Any, _status: Any) -> None:
        """Fill `out`; runs on PortAudio's thread and never waits."""
        out[:] = self._feed.next(frames, time.monotonic())


class Feed:
    """Turns 20 ms frames of 48 kHz into as many samples as a device asks for, in its format."""

    def __init__(self, line: ReplyLine, played: Format) -> None:
        self._line = line
        self._channels = played.channels
        self._resampler = Resampler(REPLY_RATE, played.rate)
        self._is_direct = played.rate == REPLY_RATE
        self._rest: NDArray[np.int16] = np.empty(0, np.int16)

    def next(self, frames: int, now: float) -> bytes:
        """Return `frames` samples for every channel, interleaved; silence where nothing plays."""
        while self._rest.size < frames:
            frame = self._line.read(now)
            if frame is None and self._is_direct and not self._rest.size:
                return bytes(2 * frames * self._channels)
            samples = self._resampler.push(SILENCE if frame is None else frame)
            self._rest = np.concatenate((self._rest, samples)) if self._rest.size else samples
        out = self._rest[:frames]
        self._rest = self._rest[frames:]
        return np.repeat(out, self._channels).tobytes()
