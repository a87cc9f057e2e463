"""Time as a test's own event loop has it, on a machine that other work shares."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from typing import Final

TICK_S: Final = 0.005


class Stalls:
    """Remembers when the event loop was not let run, so that this counts for nobody's delay.

    What the loop computed in the meantime is no stall: it is the delay that a test looks for.
    """

    def __init__(self) -> None:
        self._ticks = [self._now()]

    def seconds(self, began: float, ended: float) -> float:
        """Return how long it took from one monotonic time to another, less the stalls between."""
        lost = 0.0
        for (earlier, busy), (later, busier) in itertools.pairwise([*self._ticks, self._now()]):
            within = min(later, ended) - max(earlier, began)
            lost += max(0.0, within - (busier - busy) - 2 * TICK_S)
        return ended - began - lost

    async def watch(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._ticks.append(self._now())

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.monotonic(), time.thread_time()


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[Stalls]:
    """Watch the running loop meanwhile."""
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch(), name="stalls")
    try:
        yield stalls
    finally:
        watching.cancel()
        await asyncio.wait([watching])
