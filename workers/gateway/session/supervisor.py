"""Watches over one turn: a worker that falls silent is replaced, its late words are ignored."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, cast

import structlog
from redis.exceptions import RedisError

from schemas.turn import MAX_ATTEMPTS, SILENT_WORKER_S, Done, Spoken, TurnReply, TurnTask
from workers.errors import EdgewiseError, StorageUnavailableError
from workers.gateway.session.turn_queue import TurnQueue
from workers.storage.turns.streams import TurnStreams

LOOK_MS: Final = 250
"""How often the clock is looked at while the reply stream is silent."""
REDIS_GONE_S: Final = 10.0
LAST_START_S: Final = 15.0
"""How long the last attempt may wait for a worker to take it up: one that was killed comes back
in a few seconds, on a busy or small machine in ten, and a late answer is better than none."""
_log = structlog.get_logger(__name__)


class TurnLostError(EdgewiseError):
    """Every attempt at the turn fell silent."""

    code = "turn_worker_lost"
    retryable = True


class Watch:
    """Which attempt counts and since when it has been silent: pure, times in seconds."""

    def __init__(self) -> None:
        self.attempt = 0
        self._last_sign = 0.0
        self._is_taken_up = False

    def begin(self, now: float) -> int:
        """Start the next attempt and return its number; raises TurnLostError after the last."""
        if self.attempt >= MAX_ATTEMPTS:
            raise TurnLostError(f"no turn worker finished the turn in {MAX_ATTEMPTS} attempts")
        self.attempt += 1
        self._last_sign = now
        self._is_taken_up = False
        return self.attempt

    def accepts(self, entry: TurnReply, now: float) -> bool:
        """Tell whether an entry counts; if it does, it is a sign of life."""
        if entry.attempt != self.attempt:
            return False
        self._last_sign = now
        self._is_taken_up = True
        return True

    def is_overdue(self, now: float) -> bool:
        """Tell whether the attempt has been silent for too long."""
        waits_for_a_worker = self.attempt == MAX_ATTEMPTS and not self._is_taken_up
        patience = LAST_START_S if waits_for_a_worker else SILENT_WORKER_S
        return now - self._last_sign >= patience


class Supervisor:
    """Runs one turn on the workers, as often as it takes."""

    def __init__(
        self,
        streams: TurnStreams,
        queue: TurnQueue,
        first: TurnTask,
        spoken: Callable[[], tuple[Spoken, ...]],
    ) -> None:
        self._streams = streams
        self._queue = queue
        self._first = first
        self._spoken = spoken
        self._watch = Watch()
        self._seen = 0

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._watch.attempt

    async def replies(self) -> AsyncGenerator[TurnReply, None]:
        """Publish the turn and yield what its living attempt says, `Done` last.

        Raises TurnLostError when the last attempt has fallen silent, StorageUnavailableError
        when Redis does not answer for 10 s.
        """
        await self._begin()
        async with aclosing(self._entries()) as entries:
            async for entry in entries:
                now = time.monotonic()
                if entry is not None and self._watch.accepts(entry, now):
                    yield entry
                    if isinstance(entry, Done):
                        return
                if self._watch.is_overdue(now):
                    _log.warning("turn worker fell silent", attempt=self._watch.attempt)
                    await self._begin()

    async def _begin(self) -> None:
        attempt = self._watch.begin(time.monotonic())
        if attempt > 1:
            await self._streams.write_spoken(self._first.turn_id, self._spoken())
        task = self._first.model_copy(update={"attempt": attempt, "published_at": time.time()})
        await self._queue.publish(task)

    async def _entries(self) -> AsyncGenerator[TurnReply | None, None]:
        """Yield the reply stream across restarts of Redis; None while it is silent."""
        gone_since: float | None = None
        while True:
            try:
                async with aclosing(self._from_where_we_were()) as entries:
                    async for entry in entries:
                        gone_since = None
                        yield entry
            except RedisError as error:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > REDIS_GONE_S:
                    raise StorageUnavailableError("Redis does not answer") from error
                await asyncio.sleep(LOOK_MS / 1000)

    async def _from_where_we_were(self) -> AsyncGenerator[TurnReply | None, None]:
        known = self._seen
        reader = self._streams.read_reply(self._first.turn_id, wait_ms=LOOK_MS)
        async with aclosing(cast("AsyncGenerator[TurnReply | None, None]", reader)):
            async for entry in reader:
                if entry is not None and known > 0:
                    known -= 1
                    continue
                self._seen += entry is not None
                yield entry
