"""How many groups are on the queue and not answered yet, so that the next one waits and grows.

Without it a busy config worker would find its queue full of groups of one: writing and sending
is quicker than applying. One group that nobody answers holds the next ones up only for a moment,
since what delays it, a name that does not resolve, need not concern them.
"""

import asyncio
from typing import Final

MOST: Final = 2
"""One that is being applied, and one that is there when that is done."""
HOLDS_S: Final = 0.1
"""How long a group holds up others, in seconds."""


class OnTheWay:
    """Counts groups; one event loop."""

    def __init__(self, most: int = MOST, holds_s: float = HOLDS_S) -> None:
        self._most = most
        self._holds_s = holds_s
        self._groups: dict[object, asyncio.TimerHandle] = {}
        self._has_room = asyncio.Event()
        self._has_room.set()

    def add(self) -> object:
        """Count one more group and return what stands for it."""
        group = object()
        loop = asyncio.get_running_loop()
        self._groups[group] = loop.call_later(self._holds_s, self.remove, group)
        if len(self._groups) >= self._most:
            self._has_room.clear()
        return group

    def remove(self, group: object) -> None:
        """Count a group no longer, where it still is."""
        timer = self._groups.pop(group, None)
        if timer is not None:
            timer.cancel()
            self._has_room.set()

    async def room(self) -> None:
        """Wait until there is room for one more, `HOLDS_S` at most."""
        await self._has_room.wait()
