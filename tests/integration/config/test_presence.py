"""Which workers are there, as each says of itself in Redis."""

import asyncio
import threading

from redis.asyncio import Redis

from workers.settings import Settings
from workers.storage import presence


async def test_a_worker_is_there_from_its_word_to_its_end(settings: Settings, redis: Redis) -> None:
    await redis.delete("presence:turns", "presence:config")  # a worker killed by another test
    stop = threading.Event()
    threads = [
        threading.Thread(target=presence.announce, args=(settings, "turns", stop)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(500):
            if await presence.count(redis, "turns") == 2:
                break
            await asyncio.sleep(0.01)
        assert await presence.count(redis, "turns") == 2
        assert await presence.count(redis, "config") == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)
    assert await presence.count(redis, "turns") == 0


async def test_a_worker_that_fell_silent_is_forgotten(redis: Redis) -> None:
    seconds, _ = await redis.time()
    await redis.zadd("presence:turns", {"dead": seconds - 6, "alive": seconds - 3})
    assert await presence.count(redis, "turns") == 1
