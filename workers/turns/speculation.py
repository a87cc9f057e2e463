"""A reply that is prepared while the user may still go on, and held back until he is done."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, Self

import structlog

from schemas.turn import TurnReply
from workers.errors import EdgewiseError
from workers.turns.lost import AttemptLostError

HELD_ENTRIES: Final = 64
"""How much of a reply is prepared ahead of its hearing: 20 s or more of speech."""

Status = Literal["completed", "ignored", "cancelled", "failed"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ended:
    """The reply is whole, or as whole as it gets."""

    status: Status
    lost: AttemptLostError | None = None

    def outcome(self) -> Status:
        """Return the status; raises AttemptLostError where the reply is for another attempt."""
        if self.lost is not None:
            raise self.lost
        return self.status


Held = asyncio.Queue[TurnReply | Ended]
Compose = Callable[[Held], Awaitable[Status]]
"""Prepares a reply into the queue and says how it ended."""


class Speculation:
    """At most one guess at the reply; a new one replaces the old, which nobody has heard."""

    def __init__(
        self, compose: Compose, failed: Callable[[EdgewiseError | None], TurnReply]
    ) -> None:
        self._compose = compose
        self._failed = failed
        self._held: Held = asyncio.Queue(HELD_ENTRIES)
        self._guess: asyncio.Task[None] | None = None
        self._dropped: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()
        await asyncio.gather(*self._dropped, return_exceptions=True)

    def begin(self) -> None:
        """Start to prepare a reply."""
        self.drop()
        self._held = asyncio.Queue(HELD_ENTRIES)
        self._guess = asyncio.create_task(self._run(self._held), name="turn-guess")

    def drop(self) -> None:
        """Throw the guess away and stop the model."""
        if self._guess is not None:
            self._guess.cancel()
            self._dropped.add(self._guess)
            self._guess.add_done_callback(self._dropped.discard)
            self._guess = None

    async def take(self) -> list[TurnReply | Ended]:
        """Return all that is ready, waiting until something is; `Ended` comes last."""
        entries = [await self._held.get()]
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                entries.append(self._held.get_nowait())
        return entries

    async def _run(self, held: Held) -> None:
        status: Status = "failed"
        try:
            status = await self._compose(held)
        except EdgewiseError as error:
            log.warning("reply_failed", code=error.code, reason=str(error))
            await held.put(self._failed(error))
        except AttemptLostError as error:
            await held.put(Ended(status, lost=error))
            return
        except Exception:
            # Whatever it is, the user's side must hear that there will be no reply.
            log.exception("reply_broke")
            await held.put(self._failed(None))
        await held.put(Ended(status))
