"""Work on the loop that all turns share, in the order in which listeners need its results.

Encoding is most of what a turn costs. A model writes much faster than a voice speaks, so a reply
that is ahead of its listener by half a minute must not keep another user from his first word.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Final

from schemas.audio import PACKET_MS

PACKET_S: Final = PACKET_MS / 1000
AT_ONCE: Final = 4
"""Pieces of work in one round of the loop: 200 ms of speech take 1.3 ms each."""


class DueFirst:
    """Lets a few pieces of work in at a time; of those who wait, the ones that are due first."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def turn(self, due: float) -> AsyncIterator[None]:
        """Wait for the turn of what is due at that moment of the loop's clock."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(due)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, due: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            _due, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Playing:
    """How far one reply is ahead of its listener, who hears it from its first packet on."""

    def __init__(self, order: DueFirst, now: Callable[[], float]) -> None:
        self._order = order
        self._now = now
        self._due: float | None = None

    def turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Wait for the turn of the reply's next packets."""
        return self._order.turn(self._now() if self._due is None else self._due)

    def made(self, packets: int) -> None:
        """Note that these were made, and will be heard one after another."""
        self._due = (self._now() if self._due is None else self._due) + packets * PACKET_S
