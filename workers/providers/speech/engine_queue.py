"""Who gets the next free engine process: the one whose listener needs it first."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator


class EngineQueue:
    """Lets as many in at once as there are processes, those that are due first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def place(self, due: float) -> AsyncIterator[None]:
        """Hold a place for the block; `due` is when its result is heard, on any one clock."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), turn))
        self._let_in()
        try:
            await turn
            yield
        finally:
            # One who is cancelled while he waits has no place to give back.
            if turn.done() and not turn.cancelled():
                self._free += 1
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._free:
            _due, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
