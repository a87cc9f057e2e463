"""Writes changes down as config events, puts them on the queue, and waits for their results.

Calls that come at one time share a transaction, a message and a look at Redis; those whose events
nobody applies in time share the transaction that withdraws them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.config_event import ConfigResult, result_key
from workers.errors import StorageUnavailableError
from workers.gateway.configuring.group_writer import GroupWriter, together_or_alone
from workers.gateway.configuring.on_the_way import OnTheWay
from workers.storage.database import writing
from workers.storage.events.inbox import SealedChange, accept_events, send_events
from workers.storage.events.withdrawal import withdraw_events

WAIT_S: Final = 5.0
"""How long a call waits for its event, in seconds; the event is not applied after that."""
THREADS: Final = 5
"""One writes or publishes, one withdraws; the others are for when a broker that hangs holds one up.
"""

_Results = dict[str, "asyncio.Future[ConfigResult | None]"]

log = structlog.get_logger(__name__)


class Written(NamedTuple):
    """A change that is written down and on the queue."""

    event_id: str
    result: "asyncio.Future[ConfigResult | None]"
    """What became of it, withdrawn where nobody settled it in time; None: nothing is known."""


class ChangeWriter:
    """Takes changes from any task of one event loop."""

    def __init__(
        self, engine: Engine, redis: "Redis", celery: Celery, threads: ThreadPoolExecutor
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._celery = celery
        self._threads = threads
        self._on_the_way = OnTheWay()
        self._groups = GroupWriter[SealedChange, Written](
            self._write_group, room=self._on_the_way.room
        )
        self._waits: set[asyncio.Timeout] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, engine: Engine, redis: "Redis", celery: Celery
    ) -> AsyncIterator["ChangeWriter"]:
        """Open it with threads of its own; they end with it, and so do all waits."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="changes")
        writer = cls(engine, redis, celery, threads)
        try:
            async with writer._groups.closing():
                yield writer
        finally:
            await writer._drop_waits()
            threads.shutdown(wait=False, cancel_futures=True)

    async def write(self, change: SealedChange) -> Written:
        """Write a change down and put it on the queue.

        Raises StorageUnavailableError or ApiError, 503, where it could not be written down.
        """
        return await self._groups.write(change)

    def stop_waiting(self) -> None:
        """Let every call that waits give up now."""
        self._groups.turn_away()
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def _write_group(self, changes: Sequence[SealedChange]) -> list[Written | Exception]:
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(self._threads, together_or_alone, self._add, changes)
        results: _Results = {each: loop.create_future() for each in ids if isinstance(each, str)}
        if results:
            is_sent = asyncio.Event()
            task = asyncio.create_task(self._see_through(results, is_sent), name="await results")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await is_sent.wait()
        return [Written(each, results[each]) if isinstance(each, str) else each for each in ids]

    async def _see_through(self, results: _Results, is_sent: asyncio.Event) -> None:
        """Publish events and hand on their results; what has none in time is withdrawn."""
        try:
            await self._publish_and_read(results, is_sent)
            await self._withdraw(results)
        finally:
            for result in results.values():
                if not result.done():
                    result.set_result(None)

    async def _publish_and_read(self, results: _Results, is_sent: asyncio.Event) -> None:
        group = self._on_the_way.add()
        try:
            async with self._deadline():
                loop = asyncio.get_running_loop()
                send = partial(send_events, self._celery, tuple(results), expires_s=WAIT_S)
                try:
                    await loop.run_in_executor(self._threads, send)
                finally:
                    is_sent.set()
                await self._read(results, group)
        except (TimeoutError, RedisError, BrokerError) as error:
            missing, reason = _without_result(results), type(error).__name__
            log.warning("no results of config events", event_ids=missing, error=reason)
        except Exception:
            log.exception("results of config events were lost", event_ids=tuple(results))
        finally:
            self._on_the_way.remove(group)

    async def _withdraw(self, results: _Results) -> None:
        """Take back together what has no result; hand on what became of each."""
        missing = _without_result(results)
        if not missing:
            return
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._take_back, missing)
        except StorageUnavailableError as error:
            log.warning("events were not withdrawn", event_ids=missing, error=str(error))
        except Exception:
            log.exception("events were not withdrawn", event_ids=missing)
        else:
            for event_id, outcome in found.items():
                _hand_on(results[event_id], outcome)

    async def _read(self, results: _Results, group: object) -> None:
        """Take results as they come: those of events that were applied together, together."""
        left: dict[bytes | str, asyncio.Future[ConfigResult | None]] = {
            result_key(event_id).encode(): result for event_id, result in results.items()
        }
        while left:
            answer = await self._redis.blpop(list(left), timeout=WAIT_S - 0.5)
            if answer is None:
                return
            self._on_the_way.remove(group)
            _hand_on(left.pop(answer[0]), ConfigResult.model_validate_json(answer[1]))
            if not left:
                return
            async with self._redis.pipeline(transaction=False) as pipe:
                keys = list(left)
                for key in keys:
                    pipe.lpop(key)
                found = await pipe.execute()
            for key, text in zip(keys, found, strict=True):
                if text is not None:
                    _hand_on(left.pop(key), ConfigResult.model_validate_json(text))

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        async with asyncio.timeout(WAIT_S) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    async def _drop_waits(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add(self, changes: Sequence[SealedChange]) -> list[str]:
        with writing(self._engine) as connection:
            return accept_events(connection, changes, lives_s=WAIT_S)

    def _take_back(self, event_ids: Sequence[str]) -> dict[str, ConfigResult]:
        with writing(self._engine) as connection:
            return withdraw_events(connection, event_ids, datetime.now(UTC))


def _without_result(results: _Results) -> list[str]:
    return [event_id for event_id, result in results.items() if not result.done()]


def _hand_on(result: "asyncio.Future[ConfigResult | None]", outcome: ConfigResult) -> None:
    if not result.done():  # else its caller is gone
        result.set_result(outcome)
