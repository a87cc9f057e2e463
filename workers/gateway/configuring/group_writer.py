"""Writes together what waits at one time: one write after another, each of all that wait.

Nothing is held back to make a group larger: the first goes at once, and what comes while it is
being written, or while there is no room for more, is the next group.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from schemas.config_event import MOST_AT_ONCE
from workers.errors import StorageUnavailableError
from workers.gateway.rest_errors import unavailable

TURN_S: Final = 5.0
"""How long something waits until it is its turn, in seconds; it is not written after that."""
MOST_WAITING: Final = 512
_ENDS: Final = "this process is about to end"

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Write = Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]]
"""Returns the outcome of each, in order, or its failure; has a deadline of its own."""
Room = Callable[[], Awaitable[None]]
"""Returns when the next group may be written; has a deadline of its own."""


@dataclass(eq=False)
class _Place(Generic[Item, Outcome]):
    item: Item
    outcome: asyncio.Future[Outcome]
    gives_up: asyncio.TimerHandle


class GroupWriter(Generic[Item, Outcome]):
    """Takes items from any task of one event loop."""

    def __init__(
        self,
        write: Write[Item, Outcome],
        *,
        room: Room | None = None,
        at_once: int = MOST_AT_ONCE,
        most_waiting: int = MOST_WAITING,
        turn_s: float = TURN_S,
    ) -> None:
        self._write = write
        self._room = room
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._turn_s = turn_s
        self._waiting: dict[_Place[Item, Outcome], None] = {}
        self._writing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def closing(self) -> AsyncIterator["GroupWriter[Item, Outcome]"]:
        """At its end turn away everyone, also those who are being written."""
        try:
            yield self
        finally:
            self.turn_away()
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.wait([self._writing])

    async def write(self, item: Item) -> Outcome:
        """Return what came of writing this item.

        Raises what failed, or ApiError, 503, where too many wait or its turn does not come in
        time: then it is not written. Nor is it where the caller is cancelled before its turn.
        """
        if len(self._waiting) >= self._most_waiting:
            raise unavailable("there are too many changes at once")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        place = _Place(item, outcome, loop.call_later(self._turn_s, _give_up, outcome))
        self._waiting[place] = None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="write what waits")
        try:
            return await outcome
        finally:
            self._leave(place)

    def turn_away(self) -> None:
        """Let everyone who waits for a turn give up now."""
        for place in tuple(self._waiting):
            _tell(place.outcome, unavailable(_ENDS))

    def _leave(self, place: _Place[Item, Outcome]) -> None:
        place.gives_up.cancel()
        self._waiting.pop(place, None)

    def _take(self) -> list[_Place[Item, Outcome]]:
        taken: list[_Place[Item, Outcome]] = []
        for place in tuple(self._waiting):
            if len(taken) == self._at_once:
                break
            self._leave(place)
            if not place.outcome.done():  # else it gave up, and its caller has not run yet
                taken.append(place)
        return taken

    async def _write_all(self) -> None:
        taken: list[_Place[Item, Outcome]] = []
        try:
            while self._waiting:
                if self._room is not None:
                    await self._room()
                taken = self._take()
                outcomes = await self._outcomes([place.item for place in taken])
                for place, outcome in zip(taken, outcomes, strict=True):
                    _tell(place.outcome, outcome)
        finally:
            for place in taken:
                _tell(place.outcome, unavailable(_ENDS))
            self._writing = None

    async def _outcomes(self, items: Sequence[Item]) -> Sequence[Outcome | Exception]:
        try:
            return await self._write(items) if items else ()
        except Exception as error:  # noqa: BLE001  # every one that waits gets to know
            return [error] * len(items)


def together_or_alone(
    write: Callable[[Sequence[Item]], Sequence[Outcome | Exception]], items: Sequence[Item]
) -> list[Outcome | Exception]:
    """Write items in one transaction; where one of them makes it fail, each in one of its own.

    Blocks. Raises StorageUnavailableError where the database is away, which no item is at fault
    for.
    """
    try:
        return [*write(items)]
    except StorageUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001  # one at a time shows which one is at fault
        log.warning("a group is written one by one", error=type(error).__name__, size=len(items))
    written: list[Outcome | Exception] = []
    for item in items:
        try:
            written += write([item])
        except StorageUnavailableError as error:
            return written + [error] * (len(items) - len(written))
        except Exception as error:  # noqa: BLE001  # its caller gets to know
            written.append(error)
    return written


def _give_up(waiting: asyncio.Future[Any]) -> None:
    _tell(waiting, unavailable("there are too many changes before this one"))


def _tell(waiting: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if waiting.done():  # its caller is gone, or gave up
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
