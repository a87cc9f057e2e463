"""Work on the loop that all turns share, in the order in which listeners need its results.

Encoding is most of what a turn costs. A model writes much faster than a voice speaks, so a reply
that is ahead of its listener by half a minute must not keep another user from his first word.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final

from schemas.audio import PACKET_MS

PACKET_S: Final = PACKET_MS / 1000
SOON_S: Final = 0.5
"""What will be heard within this is due, in seconds."""
AT_ONCE: Final = 4
"""Pieces of work that are due in one round of the loop: 200 ms of speech take 0.8 ms each."""


class DueFirst:
    """Lets a few pieces of work into each round of the loop, those that are due first.

    What will be heard soon goes by `at_once`; what is further ahead goes one by one, so that in
    each round the loop reads its sockets after a millisecond.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
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
        soon = loop.time() + SOON_S
        let_in = 0
        while self._waiting and let_in < self._at_once:
            if let_in and self._waiting[0][0] > soon:
                break
            _due, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                let_in += 1
        self._is_going = let_in > 0
        if self._is_going:
            # Those let in work after this callback: the next round comes after them.
            loop.call_soon(self._round, loop)


class Playing:
    """How far one reply is ahead of its listener, who hears it from its first packet on."""

    def __init__(self, order: DueFirst, now: Callable[[], float]) -> None:
        self._order = order
        self._now = now
        self._due: float | None = None

    async def turn(self) -> None:
        """Wait for the turn of the reply's next packets."""
        await self._order.turn(self._now() if self._due is None else self._due)

    def made(self, packets: int) -> None:
        """Note that these were made, and will be heard one after another."""
        self._due = (self._now() if self._due is None else self._due) + packets * PACKET_S
