"""Puts RTP packets back in order, and never waits longer than a deadline. Pure: no clock."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from schemas.audio import MAX_PACKET_BYTES, OPUS_CLOCK, PACKET_MS, PACKET_TICKS

_LONGEST_PACKET: Final = OPUS_CLOCK * 120 // 1000
_SLACK: Final = OPUS_CLOCK * 10
_MAX_DROPOUT: Final = 3000  # sequence numbers; RFC 3550, appendix A.1


@dataclass(frozen=True, slots=True)
class Received:
    """One Opus packet and where it belongs, in 48 kHz ticks since the first packet."""

    payload: bytes
    ticks: int


@dataclass(frozen=True, slots=True)
class _Held:
    payload: bytes
    ticks: int
    arrived: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """The furthest packet of the stream, from which the next ones are counted."""

    sequence: int
    timestamp: int
    number: int
    ticks: int
    arrived: float


class ReceiveBuffer:
    """Releases packets in order: at once when none is missing, at the deadline when one is.

    Call `pop` after each `push` and at `next_deadline`. Times are seconds of one steady clock.
    """

    def __init__(self, *, deadline_ms: int = 60, max_ms: int = 500) -> None:
        self._deadline = deadline_ms / 1000
        self._capacity = max(max_ms // PACKET_MS, 1)
        self._mark: _Mark | None = None
        self._next_number = 0
        self._last_ticks = 0
        self._held: dict[int, _Held] = {}
        self._ready: deque[Received] = deque()
        self.lost = 0
        self.late = 0
        self.unusable = 0
        self.overrun = 0
        self.restarts = 0

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """Take one packet: 16-bit `sequence`, 32-bit `timestamp`, Opus `payload`."""
        number, ticks = self._place(sequence, timestamp, now)
        if number < self._next_number or number in self._held:
            self.late += 1
            return
        usable = 0 < len(payload) <= MAX_PACKET_BYTES
        self.unusable += not usable
        # An unusable packet still fills its place, so that nobody waits for it.
        self._held[number] = _Held(payload if usable else b"", ticks, now)
        self._release_in_order()
        while len(self._held) > self._capacity:
            self._skip_to_first()

    def pop(self, now: float) -> list[Received]:
        """Return the packets whose turn it is at `now`, in order."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self._skip_to_first()
        released = list(self._ready)
        self._ready.clear()
        return released

    def next_deadline(self) -> float | None:
        """Return when `pop` will have more although nothing new arrives; None if never."""
        if not self._held:
            return None
        return min(held.arrived for held in self._held.values()) + self._deadline

    def _place(self, sequence: int, timestamp: int, now: float) -> tuple[int, int]:
        """Unwrap the two counters; a jump that no network makes starts the stream anew."""
        mark = self._mark
        if mark is None:
            number, ticks = 0, 0
        else:
            ahead = _signed(sequence - mark.sequence, 16)
            later = _signed(timestamp - mark.timestamp, 32)
            if _plausible(ahead, later, now - mark.arrived):
                number, ticks = mark.number + ahead, mark.ticks + later
            else:
                number, ticks = self._restart(mark, now)
        if mark is None or number > mark.number:
            self._mark = _Mark(sequence, timestamp, number, ticks, now)
        return number, ticks

    def _restart(self, mark: _Mark, now: float) -> tuple[int, int]:
        """Let out what is held and go on behind it, leaving the pause that there was."""
        while self._held:
            self._skip_to_first()
        self.restarts += 1
        self._next_number = mark.number + 1
        pause = max(PACKET_TICKS, int((now - mark.arrived) * OPUS_CLOCK))
        return self._next_number, mark.ticks + pause

    def _skip_to_first(self) -> None:
        first = min(self._held)
        self.lost += first - self._next_number
        self._next_number = first
        self._release_in_order()

    def _release_in_order(self) -> None:
        while (held := self._held.pop(self._next_number, None)) is not None:
            self._next_number += 1
            # A sender whose two counters disagree must not make time run back.
            self._last_ticks = max(self._last_ticks, held.ticks)
            if held.payload:
                self._ready.append(Received(held.payload, self._last_ticks))
        while len(self._ready) > self._capacity:
            self._ready.popleft()
            self.overrun += 1


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half


def _plausible(ahead: int, later: int, elapsed: float) -> bool:
    """Return whether one sender can have sent a packet `ahead` numbers and `later` ticks on."""
    if abs(ahead) > _MAX_DROPOUT:
        return False
    if ahead == 0:
        return later == 0
    span = abs(ahead) * _LONGEST_PACKET + _SLACK
    if ahead < 0:
        return -span <= later < 0
    return 0 < later <= span + int(elapsed * OPUS_CLOCK)
