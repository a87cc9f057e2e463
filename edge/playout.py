"""From reply packets to the speaker's samples, on the speaker's clock. Pure: no clock, no device.

Packets come out of the receive buffer in order. A short cushion (40 ms) absorbs the jitter of
the network. A packet that is missing is concealed. When late packets have made the delay grow
beyond `most_ms`, audio is shortened by whole pitch periods until it is back: every packet that
arrived is heard, and the delay is back within a second.
"""

from collections import deque
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.media.receive_buffer import ReceiveBuffer
from edge.settings import REPLY_RATE
from edge.shorten import shorten
from schemas.audio import PACKET_MS, PACKET_TICKS

Samples: TypeAlias = NDArray[np.int16]

FRAME_SAMPLES: Final = REPLY_RATE * PACKET_MS // 1000
SILENCE: Samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)
SILENCE.setflags(write=False)
MOST_CONCEALED: Final = 3
"""Frames concealed in a row; what is missing beyond 60 ms is a pause, not a loss."""


class Decoder(Protocol):
    """Makes 48 kHz mono samples of Opus packets."""

    def decode(self, packet: bytes) -> Samples:
        """Return the packet's samples; raises ValueError on garbage."""
        ...

    def conceal(self) -> Samples:
        """Return 20 ms that hide a lost packet."""
        ...


class Playout:
    """Feeds the speaker 20 ms at a time; times are seconds on the caller's clock."""

    def __init__(self, decoder: Decoder, *, cushion_ms: int = 40, most_ms: int = 60) -> None:
        # A packet also waits up to 20 ms for the speaker to ask: with 60 ms here it is played
        # within 80 ms of its arrival.
        self._decoder = decoder
        self._cushion_ms = cushion_ms
        self._most_samples = REPLY_RATE * most_ms // 1000
        self._buffer = ReceiveBuffer()
        self._queue: deque[tuple[bytes, int]] = deque()
        self._samples = SILENCE[:0]
        self._expected: int | None = None
        self._waiting_since: float | None = None
        self._concealed = 0
        self.played_packets = 0
        self.concealed_frames = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is left to play and nothing is being waited for."""
        waiting = self._queue or self._buffer.next_deadline() is not None
        return not waiting and self._expected is None

    @property
    def delay_ms(self) -> float:
        """Audio that waits here to be played, in milliseconds."""
        return len(self._queue) * PACKET_MS + len(self._samples) * 1000 / REPLY_RATE

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """Take an RTP packet as it arrives."""
        self._buffer.push(sequence, timestamp, payload, now)

    def drop(self) -> None:
        """Forget all that is waiting: the speaker falls silent with its next frame."""
        self._buffer = ReceiveBuffer()
        self._queue.clear()
        self._rest()

    def read(self, now: float) -> Samples | None:
        """Return the next 20 ms (960 samples), or None while there is nothing to play."""
        self._queue.extend((item.payload, item.ticks) for item in self._buffer.pop(now))
        if self._expected is None and not self._may_start(now):
            return None
        while len(self._samples) < FRAME_SAMPLES:
            piece = self._next_piece()
            if piece is None:
                return self._last_piece()
            self._samples = np.concatenate((self._samples, piece))
        frame = self._samples[:FRAME_SAMPLES]
        self._samples = self._samples[FRAME_SAMPLES:]
        return frame

    def _may_start(self, now: float) -> bool:
        if not self._queue:
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        waited_ms = (now - self._waiting_since) * 1000
        if len(self._queue) * PACKET_MS < self._cushion_ms and waited_ms < self._cushion_ms:
            return False
        self._expected = self._queue[0][1]
        return True

    def _next_piece(self) -> Samples | None:
        if not self._queue:
            return self._conceal()
        payload, ticks = self._queue[0]
        missing = 0 if self._expected is None else ticks - self._expected
        if 0 < missing <= MOST_CONCEALED * PACKET_TICKS and not self._is_late():
            concealed = self._conceal()
            if concealed is not None:
                return concealed
        self._queue.popleft()
        self._expected = ticks + PACKET_TICKS
        self._concealed = 0
        return self._decode(payload)

    def _decode(self, payload: bytes) -> Samples:
        try:
            samples = self._decoder.decode(payload)
        except ValueError:
            return self._decoder.conceal()
        self.played_packets += 1
        return shorten(samples) if self._is_late() else samples

    def _is_late(self) -> bool:
        return len(self._queue) * FRAME_SAMPLES + len(self._samples) > self._most_samples

    def _conceal(self) -> Samples | None:
        if self._concealed >= MOST_CONCEALED or self._expected is None:
            return None
        self._concealed += 1
        self.concealed_frames += 1
        self._expected += PACKET_TICKS
        return self._decoder.conceal()

    def _last_piece(self) -> Samples | None:
        rest = self._samples
        self._rest()
        if not len(rest):
            return None
        return np.concatenate((rest, SILENCE[len(rest) :]))

    def _rest(self) -> None:
        self._samples = SILENCE[:0]
        self._expected = None
        self._waiting_since = None
        self._concealed = 0
