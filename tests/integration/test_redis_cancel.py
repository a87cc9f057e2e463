"""A task that waits for Redis ends when it is cancelled, whatever it is doing at that moment."""

import asyncio
import random

from redis.asyncio import Redis

from schemas.turn import UserAudio
from workers.storage.turns.streams import TurnStreams


async def test_a_cancelled_writer_or_reader_always_ends(redis: Redis) -> None:
    streams = TurnStreams(redis)
    dice = random.Random(20)

    async def write() -> None:
        while True:
            await streams.write_input("turn_a", UserAudio(packets=(b"x",)))
            await asyncio.sleep(0.001)

    async def read() -> None:
        async for _ in streams.read_reply("turn_b", wait_ms=20):
            await asyncio.sleep(0)

    for work in (write, read) * 100:
        task = asyncio.create_task(work())
        await asyncio.sleep(dice.random() * 0.004)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        assert done, f"{work.__name__} lives on"
