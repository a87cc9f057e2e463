"""What happens beside the turn itself: signs of life, captions, an ear for the call to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from schemas.turn import Cancel, Heartbeat, ToolResult, Transcript, TurnInput, TurnReply
from workers.turns.ports import ReplyWriter

T = TypeVar("T")


class TurnCancelledError(Exception):
    """The gateway wants no more of this turn, or is gone."""


class InOrder:
    """A reply that several tasks write to: entries arrive in the order of the calls."""

    def __init__(self, reply: ReplyWriter) -> None:
        self._reply = reply
        self._lock = asyncio.Lock()

    async def write(self, *entries: TurnReply) -> None:
        """Append entries, once those of earlier calls are written."""
        async with self._lock:
            await self._reply.write(*entries)


@contextlib.asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run `work` for as long as the block lasts; if it fails, so does the block, as a group."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        yield
        task.cancel()


async def beat(reply: ReplyWriter, attempt: int, every_s: float) -> None:
    """Say again and again that the worker is alive and on the turn."""
    while True:
        await asyncio.sleep(every_s)
        await reply.write(Heartbeat(attempt=attempt))


async def caption(
    reply: ReplyWriter, attempt: int, so_far: Callable[[], str], every_s: float
) -> None:
    """Write what is understood so far whenever it has changed."""
    shown = ""
    while True:
        await asyncio.sleep(every_s)
        text = so_far()
        if text and text != shown:
            shown = text
            await reply.write(Transcript(attempt=attempt, text=text, final=False))


async def unless_called_off(
    utterance: AsyncIterator[TurnInput | None],
    work: Coroutine[Any, Any, T],
    deliver: Callable[[ToolResult], None],
) -> T:
    """Return what `work` returns; stop it and raise TurnCancelledError at a `Cancel`.

    Results of the client's tools go to `deliver` meanwhile.
    """
    working = asyncio.create_task(work, name="turn-reply")
    watching = asyncio.create_task(_wait_for_cancel(utterance, deliver), name="turn-cancel-watch")
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        watching.result()
        raise TurnCancelledError
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _wait_for_cancel(
    utterance: AsyncIterator[TurnInput | None], deliver: Callable[[ToolResult], None]
) -> None:
    async for entry in utterance:
        if isinstance(entry, ToolResult):
            deliver(entry)
        if isinstance(entry, Cancel):
            return
