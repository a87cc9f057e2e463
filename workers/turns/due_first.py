"""Work on the loop that all turns share, in the order in which listeners need its results.

Encoding is most of what a turn costs. A model writes much faster than a voice speaks, so a reply
that is ahead of its listener by half a minute must not keep another user from his first word.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from schemas.audio import PACKET_MS

PACKET_S: Final = PACKET_MS / 1000
NOW_S: Final = 0.3
"""What will be heard within this is urgent, in seconds."""
SOON_S: Final = 1.5
"""What will be heard within this does not wait for its turn among what is far ahead, in seconds."""
AHEAD_S: Final = 180.0
"""How far a reply may be ahead of its listener when a sentence begins, in seconds: with a long
sentence, and what is held back of a guess, it stays below what the gateway keeps."""
AT_ONCE: Final = 4
"""Pieces of work that are urgent in one round of the loop: 200 ms of speech take 0.8 ms each."""
FAR_EVERY_S: Final = 0.005
FAR_EACH_S: Final = 0.0005
"""How long after a piece that was far ahead the next such one is let in, in seconds: the second
for each turn that waits, so that few have it nearly at once, and no longer than the first."""
CROWD: Final = 10
YOUNG_S: Final = 1.0
"""Of so many replies that began within this without a sound yet, in seconds, the cores are theirs:
older ones wait for a slow model, and need none."""
FAR_IN_A_CROWD_S: Final = 0.1
"""How long after a piece that was far ahead the next one is let in then, in seconds."""


class DueFirst:
    """Lets a few pieces of work into each round of the loop, those that are due first.

    What is urgent goes by `at_once`. What will be heard soon goes one by one, so that in each
    round the loop reads its sockets after a millisecond. What is further ahead goes at a pace that
    leaves the cores to others: a reply alone is made many times faster than it is heard, and of a
    hundred that begin together each first gets what its listener needs soon.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._far_from = -math.inf
        self.silent: WeakSet[Playing] = WeakSet()
        """Replies under way of which nothing is to be heard yet."""
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._next: asyncio.Handle | None = None
        self._next_at = math.inf
        """When the next look is, on the loop's clock."""

    async def turn(self, due: float) -> None:
        """Wait for the turn of what is due at that moment of the loop's clock.

        What the caller does next, without waiting, is the piece of work.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), turn))
        self._look_at(loop, self._when(due))
        await turn

    def _when(self, due: float) -> float:
        return min(due - SOON_S, self._far_from)

    def _look_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """Look at that time, or sooner where that was planned."""
        if when >= self._next_at:
            return
        if self._next is not None:
            self._next.cancel()
        self._next_at = when
        delay_s = when - loop.time()
        if delay_s > 0:
            self._next = loop.call_later(delay_s, self._round, loop)
        else:
            self._next = loop.call_soon(self._round, loop)

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next, self._next_at = None, math.inf
        now, let_in = loop.time(), 0
        while self._waiting and let_in < self._at_once:
            ahead_s = self._waiting[0][0] - now
            if (ahead_s > NOW_S and let_in) or (ahead_s > SOON_S and now < self._far_from):
                break
            _due, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                let_in += 1
                if ahead_s > SOON_S:
                    self._far_from = now + self._far_pause_s(now)
        if self._waiting:
            self._look_at(loop, self._when(self._waiting[0][0]))

    def _far_pause_s(self, now: float) -> float:
        if sum(now - reply.began < YOUNG_S for reply in self.silent) >= CROWD:
            return FAR_IN_A_CROWD_S
        return min(FAR_EVERY_S, (1 + len(self._waiting)) * FAR_EACH_S)


class Playing:
    """How far one reply is ahead of its listener, who hears it from its first packet on."""

    def __init__(self, order: DueFirst, now: Callable[[], float], due: float | None = None) -> None:
        """Take with `due` when it is heard, where no listener waits for it."""
        self._order = order
        self._now = now
        self._due = due
        self.began = now()
        if due is None:
            order.silent.add(self)

    @property
    def due(self) -> float:
        """When the listener needs the next packets, on the loop's clock."""
        return self._now() if self._due is None else self._due

    async def room(self) -> None:
        """Wait until the listener has come close enough for the next sentence."""
        if (early_s := self.due - self._now() - AHEAD_S) > 0:
            await asyncio.sleep(early_s)

    async def turn(self) -> float:
        """Wait for the turn of the reply's next packets; return when they are heard."""
        await self._order.turn(self.due)
        return self.due

    def made(self, packets: int) -> None:
        """Note that these were made, and will be heard one after another, none before now."""
        self._order.silent.discard(self)
        self._due = max(self.due, self._now()) + packets * PACKET_S
