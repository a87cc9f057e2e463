"""How long a turn waits in the queue: from the gateway's publish to the start of its task.

Thirty turns are under way on one worker, each with a user who speaks on and on, while further
turns are published one after another by the gateway's own `TurnQueue`. Speech-to-text is the
scripted engine: thirty real ones are more than two cores can do, and the hop is not theirs.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from bench.figure import Figure, NotMeasuredError, percentile
from bench.loss import speech_packets
from bench.systems import measured_system
from schemas.audio import PACKET_MS
from schemas.ids import new_id
from schemas.turn import Cancel, Done, Started, TurnReply, TurnTask, UserAudio
from tests.servers.system import System
from workers.celery_app import make_celery
from workers.gateway.session.turn_queue import TurnQueue
from workers.gateway.session.utterance import BATCH
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turn_streams import TurnStreams

RUNNING = 30
PROBES, QUICK_PROBES = 150, 40
WARM_UP = 10
"""Turns before the first that counts: worker and publisher open their connections."""
BETWEEN_S = 0.08
ANSWER_S = 15.0


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the wait."""
    with measured_system(EDGEWISE_STT_ENGINE="scripted") as system:
        return asyncio.run(_measure(system, QUICK_PROBES if quick else PROBES))


async def _measure(system: System, probes: int) -> list[Figure]:
    settings = Settings(
        _env_file=None,
        home=system.home,
        redis_url=f"unix://{system.home / 'redis' / 'redis.sock'}",
    )
    redis = connect(settings)
    queue = TurnQueue(make_celery(settings, "bench"))
    turns = Turns(system.agent(), TurnStreams(redis), queue)
    try:
        await turns.probe(WARM_UP)
        alone = await turns.probe(max(10, probes // 5))
        async with asyncio.TaskGroup() as group:
            load = [group.create_task(turns.speak(), name=f"turn {n}") for n in range(RUNNING)]
            await turns.wait_until_running(RUNNING)
            waits = await turns.probe(probes)
            for task in load:
                task.cancel()
    finally:
        queue.close()
        await redis.aclose()
    note = (
        f"p50 {percentile(waits, 0.5):.1f} ms, max {max(waits):.1f} ms of {len(waits)}; "
        f"with no other turn p95 {percentile(alone, 0.95):.1f} ms"
    )
    name = f"queue hop, publish to task start, {RUNNING} turns running, p95"
    return [Figure(name, percentile(waits, 0.95), "ms", 15, note=note)]


class Turns:
    """Publishes turns as the gateway does and reads what comes of them."""

    def __init__(self, agent_id: str, streams: TurnStreams, queue: TurnQueue) -> None:
        self._agent_id = agent_id
        self._streams = streams
        self._queue = queue
        self._packets = speech_packets(500)
        self._running = asyncio.Semaphore(0)

    async def probe(self, count: int) -> list[float]:
        """Publish turns that are cancelled at once; return each one's wait in milliseconds."""
        waits = []
        for _ in range(count):
            turn_id = await self._publish()
            await self._streams.write_input(turn_id, Cancel(reason="superseded"))
            done = await self._wait_for(turn_id, lambda entry: isinstance(entry, Done))
            wait = cast("Done", done).metrics.queue_ms
            if wait is None:
                raise NotMeasuredError("the worker does not say how long the turn was queued")
            waits.append(wait)
            await asyncio.sleep(BETWEEN_S)
        return waits

    async def speak(self) -> None:
        """Run one turn whose user speaks until this is cancelled."""
        turn_id = await self._publish()
        await self._wait_for(turn_id, lambda entry: isinstance(entry, Started))
        self._running.release()
        try:
            due = time.monotonic()
            while True:
                for start in range(0, len(self._packets), BATCH):
                    batch = tuple(self._packets[start : start + BATCH])
                    await self._streams.write_input(turn_id, UserAudio(packets=batch))
                    due += len(batch) * PACKET_MS / 1000
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            await self._streams.write_input(turn_id, Cancel(reason="session_ended"))

    async def wait_until_running(self, count: int) -> None:
        """Return when `count` turns are under way."""
        async with asyncio.timeout(ANSWER_S):
            for _ in range(count):
                await self._running.acquire()

    async def _publish(self) -> str:
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

    async def _wait_for(self, turn_id: str, wanted: Callable[[TurnReply], bool]) -> TurnReply:
        reader = self._streams.read_reply(turn_id, wait_ms=250)
        async with asyncio.timeout(ANSWER_S), aclosing(generator(reader)) as entries:
            async for entry in entries:
                if entry is not None and wanted(entry):
                    return entry
        raise NotMeasuredError(f"turn {turn_id} ended without the entry that was waited for")


def generator(reader: object) -> AsyncGenerator[TurnReply | None, None]:
    """Return a reader of a reply as what it is, so that it can be closed."""
    return cast("AsyncGenerator[TurnReply | None, None]", reader)
