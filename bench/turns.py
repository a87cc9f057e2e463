"""Turns as the gateway publishes them, and what comes of them, without a gateway."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, cast

from bench.figure import NotMeasuredError
from bench.loss import speech_packets
from schemas.audio import PACKET_MS
from schemas.ids import new_id
from schemas.turn import Cancel, Done, End, Pause, Started, TurnReply, TurnTask, UserAudio
from tests.servers.system import System
from workers.celery_app import make_celery
from workers.gateway.session.turn_queue import TurnQueue
from workers.gateway.session.utterance import BATCH
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.streams import TurnStreams

BETWEEN_S: Final = 0.08
ANSWER_S: Final = 15.0
ASKED_PACKETS: Final = 50
WARM_UP: Final = 10
"""Turns before the first that counts: worker and publisher open their connections."""


def redis_url(system: System) -> str:
    """Return the address of the system's private Redis."""
    return f"unix://{system.home / 'redis' / 'redis.sock'}"


@contextlib.asynccontextmanager
async def turns_of(system: System, agent_id: str) -> AsyncIterator["Turns"]:
    """Publish to the system's own Redis, for as long as this is open."""
    settings = Settings(_env_file=None, home=system.home, redis_url=redis_url(system))
    redis = connect(settings)
    queue = TurnQueue(make_celery(settings, "bench"))
    try:
        yield Turns(agent_id, TurnStreams(redis), queue)
    finally:
        queue.close()
        await redis.aclose()


class Turns:
    """Publishes turns as the gateway does and reads what comes of them."""

    def __init__(self, agent_id: str, streams: TurnStreams, queue: TurnQueue) -> None:
        self.streams = streams
        self._agent_id = agent_id
        self._queue = queue
        self._packets = speech_packets(500)
        self._running = asyncio.Semaphore(0)

    async def probe(self, count: int) -> list[float]:
        """Publish turns that are cancelled at once; return each one's wait in milliseconds."""
        waits = []
        for _ in range(count):
            turn_id = await self.publish()
            await self.streams.write_input(turn_id, Cancel(reason="superseded"))
            done = await self.wait_for(turn_id, lambda entry: isinstance(entry, Done))
            wait = cast("Done", done).metrics.queue_ms
            if wait is None:
                raise NotMeasuredError("the worker does not say how long the turn was queued")
            waits.append(wait)
            await asyncio.sleep(BETWEEN_S)
        return waits

    async def speak(self) -> None:
        """Run one turn whose user speaks until this is cancelled."""
        turn_id = await self.publish()
        await self.wait_for(turn_id, lambda entry: isinstance(entry, Started))
        self._running.release()
        try:
            due = time.monotonic()
            while True:
                for start in range(0, len(self._packets), BATCH):
                    batch = tuple(self._packets[start : start + BATCH])
                    await self.streams.write_input(turn_id, UserAudio(packets=batch))
                    due += len(batch) * PACKET_MS / 1000
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            await self.streams.write_input(turn_id, Cancel(reason="session_ended"))

    async def ask(self) -> str:
        """Publish a turn whose user has spoken, and return its id."""
        turn_id = await self.publish()
        for start in range(0, ASKED_PACKETS, BATCH):
            batch = tuple(self._packets[start : start + BATCH])
            await self.streams.write_input(turn_id, UserAudio(packets=batch))
        await self.streams.write_input(turn_id, Pause(), End(silence_ms=0))
        return turn_id

    async def wait_until_running(self, count: int) -> None:
        """Return when `count` turns are under way."""
        async with asyncio.timeout(ANSWER_S):
            for _ in range(count):
                await self._running.acquire()

    async def publish(self) -> str:
        """Publish a turn and return its id; its user has said nothing yet."""
        task = TurnTask(
            kind="utterance",
            turn_id=new_id("turn"),
            session_id=new_id("session"),
            agent_id=self._agent_id,
            attempt=1,
            published_at=time.time(),
        )
        await self._queue.publish(task)
        return task.turn_id

    async def wait_for(self, turn_id: str, wanted: Callable[[TurnReply], bool]) -> TurnReply:
        """Return the first entry of the reply that is `wanted`; NotMeasuredError without one."""
        reader = self.streams.read_reply(turn_id, wait_ms=250)
        async with asyncio.timeout(ANSWER_S), aclosing(generator(reader)) as entries:
            async for entry in entries:
                if entry is not None and wanted(entry):
                    return entry
        raise NotMeasuredError(f"turn {turn_id} ended without the entry that was waited for")


def generator(reader: object) -> AsyncGenerator[TurnReply | None, None]:
    """Return a reader of a reply as what it is, so that it can be closed."""
    return cast("AsyncGenerator[TurnReply | None, None]", reader)
