"""A short line for the user while what comes next is late."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Aside:
    """Words that are said although they are no part of the reply."""

    text: str


class Filler:
    """Says its line, at most once, when a wait lasts too long and the user is waiting, too."""

    def __init__(
        self, say: Callable[[Aside], None], line: str, after_s: float, awaited: asyncio.Event
    ) -> None:
        """`say` never waits; `awaited` is set once the user is done and expects a reply."""
        self._say = say
        self._line = line
        self._after_s = after_s
        self._awaited = awaited

    @contextlib.asynccontextmanager
    async def over(self) -> AsyncIterator[None]:
        """Cover the time that the block takes."""
        timer = asyncio.create_task(self._say_when_late(), name="reply-filler")
        try:
            yield
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    async def _say_when_late(self) -> None:
        if not self._line:
            return
        await asyncio.sleep(self._after_s)
        await self._awaited.wait()
        self._say(Aside(self._line))
        self._line = ""
