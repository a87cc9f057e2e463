"""Plays reply packets in real time, on one clock; nothing is sent between replies."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from schemas.audio import PACKET_MS, PACKET_TICKS

PACKET_S: Final = PACKET_MS / 1000
LEAD_S: Final = 0.060
"""How far ahead of the listener packets are sent, so that a late wake-up is not heard."""
PACKETS_A_WAKE: Final = 2
LONGEST_STALL_S: Final = 0.2
MAX_QUEUED: Final = 5 * 60 * 50
"""Five minutes of speech; what comes beyond is not played."""
FULL: Final = MAX_QUEUED - 10 * 50
"""From here on a reply waits: what is left is for one more of its entries and for an apology."""


class Playout:
    """The play queue of a session: `send` gets each packet and its RTP time in 48 kHz ticks."""

    def __init__(self, send: Callable[[bytes, int], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._origin = self._loop.time()
        self._queue: deque[bytes] = deque()
        self._due = self._origin
        self._ticks = 0
        self._sent = 0
        self._wake: asyncio.TimerHandle | None = None
        self._is_ending = False
        self._silent = asyncio.Event()
        self._silent.set()
        self.last_sent = self._origin
        """When the last packet went out, on the loop's clock."""

    @property
    def is_playing(self) -> bool:
        """True from the first packet until the last one has sounded."""
        return not self._silent.is_set()

    @property
    def played(self) -> int:
        """How many packets have sounded, by the clock, since `begin`."""
        ahead = max(0.0, self._due - self._loop.time())
        return max(0, self._sent - math.ceil(ahead / PACKET_S - 1e-6))

    def begin(self) -> None:
        """Drop what is queued and count from nought."""
        self.drop()
        self._sent = 0

    def push(self, packets: tuple[bytes, ...]) -> int:
        """Queue packets behind those that wait; returns how many there was room for."""
        taken = packets[: max(0, MAX_QUEUED - len(self._queue))]
        if not taken:
            return 0
        self._queue.extend(taken)
        self._start()
        return len(taken)

    async def room(self) -> None:
        """Wait until there is room for more of a reply."""
        if (over := len(self._queue) - FULL) > 0:
            await asyncio.sleep(over * PACKET_S)

    def drop(self) -> None:
        """Fall silent at once."""
        self._queue.clear()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._due = min(self._due, self._loop.time())
        self._silent.set()

    async def silent(self) -> None:
        """Wait until everything that was queued has sounded."""
        await self._silent.wait()

    def _start(self) -> None:
        now = self._loop.time()
        if self._silent.is_set():
            self._silent.clear()
            self._due = now
            # RTP time follows the clock over the pause: the receiver's buffer knows it as one.
            spent = math.floor((now - self._origin) / PACKET_S)
            self._ticks = max(self._ticks, spent * PACKET_TICKS)
            self._tick()
        elif self._is_ending:
            self._tick()

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._due > LONGEST_STALL_S:
            self._due = now  # go on from here: a burst of what is late would overrun the receiver
        while self._queue and self._due <= now + LEAD_S:
            self._send(self._queue.popleft(), self._ticks)
            self._ticks += PACKET_TICKS
            self._sent += 1
            self._due += PACKET_S
            self.last_sent = now
        self._schedule()

    def _schedule(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._is_ending = not self._queue
        if self._is_ending:
            self._wake = self._loop.call_at(self._due, self._end)
        else:
            early = LEAD_S - (PACKETS_A_WAKE - 1) * PACKET_S
            self._wake = self._loop.call_at(self._due - early, self._tick)

    def _end(self) -> None:
        self._wake = None
        self._silent.set()
