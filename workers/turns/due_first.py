"""Work on the loop that all turns share, in the order in which listeners need its results.

Encoding is most of what a turn costs. A model writes much faster than a voice speaks, so a reply
that is ahead of its listener by half a minute must not keep another user from his first word.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Final

from schemas.audio import PACKET_MS

PACKET_S: Final = PACKET_MS / 1000
NOW_S: Final = 0.3
"""What will be heard within this is urgent, in seconds."""
SOON_S: Final = 1.5
"""What will be heard within this cannot wait for a loop without other work, in seconds."""
AT_ONCE: Final = 4
"""Pieces of work that are urgent in one round of the loop: 200 ms of speech take 0.8 ms each."""
IDLE_S: Final = 0.0005
"""A round of the loop that takes no longer had nothing to do, in seconds."""


class DueFirst:
    """Lets a few pieces of work into each round of the loop, those that are due first.

    What is urgent goes by `at_once`. What will be heard soon goes one by one, so that in each
    round the loop reads its sockets after a millisecond. What is further ahead waits for a round
    in which the loop has nothing else to do: while many turns begin, it is made when it is due
    soon, and otherwise at once.
    """

    def __init__(
        self, at_once: int = AT_ONCE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Take how many pieces are let in at once, and what the rounds are timed with."""
        self._at_once = at_once
        self._clock = clock
        self._looked_at = -math.inf
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_going = False

    async def turn(self, due: float) -> None:
        """Wait for the turn of what is due at that moment of the loop's clock.

        What the caller does next, without waiting, is the piece of work.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), turn))
        if not self._is_going:
            self._is_going = True
            loop.call_soon(self._round, loop)
        await turn

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        began, now = self._clock(), loop.time()
        is_idle = began - self._looked_at <= IDLE_S
        let_in = 0
        while self._waiting and let_in < self._at_once:
            ahead_s = self._waiting[0][0] - now
            if ahead_s > NOW_S and (let_in or (ahead_s > SOON_S and not is_idle)):
                break
            _due, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                let_in += 1
        # What was let in works before the next round, which tells nothing of the rest then.
        self._looked_at = -math.inf if let_in else began
        self._is_going = bool(let_in or self._waiting)
        if self._is_going:
            loop.call_soon(self._round, loop)


class Playing:
    """How far one reply is ahead of its listener, who hears it from its first packet on."""

    def __init__(self, order: DueFirst, now: Callable[[], float]) -> None:
        self._order = order
        self._now = now
        self._due: float | None = None

    @property
    def due(self) -> float:
        """When the listener needs the next packets, on the loop's clock."""
        return self._now() if self._due is None else self._due

    async def turn(self) -> float:
        """Wait for the turn of the reply's next packets; return when they are heard."""
        await self._order.turn(self.due)
        return self.due

    def made(self, packets: int) -> None:
        """Note that these were made, and will be heard one after another."""
        self._due = self.due + packets * PACKET_S
