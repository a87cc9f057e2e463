"""The line between the network's thread and the speaker's: neither ever waits for the other."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from edge.media.opus import OpusDecoder
from edge.playout import FRAME_SAMPLES, Playout, Samples
from edge.settings import REPLY_RATE

AUDIBLE: Final = 64
"""Peak from which a frame counts as sound: -54 dBFS."""
FRAME_S: Final = FRAME_SAMPLES / REPLY_RATE


@dataclass(slots=True)
class Heard:
    """What came out of the speaker: times in seconds of the monotonic clock."""

    frames: int = 0
    last_frame_at: float = float("-inf")
    last_sound_at: float = float("-inf")


class ReplyLine:
    """Packets and orders go in on one thread, 20 ms frames come out on another."""

    def __init__(self) -> None:
        self._orders: deque[Callable[[], None]] = deque(maxlen=500)
        self._playout = Playout(OpusDecoder(REPLY_RATE))
        self._tones: deque[Samples] = deque()
        self._is_quiet = True
        self.heard = Heard()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be heard; as of the last frame that was read."""
        return not self._orders and self._is_quiet

    @property
    def playout(self) -> Playout:
        """The playout, for its figures."""
        return self._playout

    def packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """Take an RTP packet as it arrives."""
        now = time.monotonic()
        self._orders.append(partial(self._playout.push, sequence, timestamp, payload, now))

    def fall_silent(self) -> None:
        """Drop all that has not been played; the next frame is silence."""
        self._orders.clear()
        self._orders.append(self._playout.drop)

    def sound(self, samples: Samples) -> None:
        """Play a short 48 kHz tone of the device's own, over whatever else plays."""
        padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
        self._orders.append(partial(self._tones.extend, padded.reshape(-1, FRAME_SAMPLES)))

    def read(self, now: float) -> Samples | None:
        """Return the next 20 ms (960 samples at 48 kHz), None for silence."""
        self._follow_orders()
        frame = self._playout.read(now)
        if self._tones:
            tone = self._tones.popleft()
            frame = tone if frame is None else (frame // 2 + tone // 2).astype(np.int16)
        self._is_quiet = self._playout.idle and not self._tones
        if frame is not None:
            self._note(frame, now)
        return frame

    def _follow_orders(self) -> None:
        while True:
            try:
                order = self._orders.popleft()
            except IndexError:  # asked for, not looked at before: the other thread may clear it
                return
            order()

    def _note(self, frame: Samples, now: float) -> None:
        self.heard.frames += 1
        self.heard.last_frame_at = now + FRAME_S
        loud = np.flatnonzero(np.abs(frame.astype(np.int32)) >= AUDIBLE)
        if loud.size:
            self.heard.last_sound_at = now + (int(loud[-1]) + 1) / REPLY_RATE
