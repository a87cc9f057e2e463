"""A turn worker has its connections to Redis before its first burst of turns."""

import asyncio
import socket

from redis.asyncio import Redis

from workers.settings import Settings
from workers.storage.redis_client import connect, open_ahead

AT_ONCE = 20


async def test_reads_side_by_side_open_no_connection_that_was_opened_ahead(
    redis: Redis, settings: Settings
) -> None:
    ours = connect(settings)
    try:
        await open_ahead(ours, AT_ONCE)
        before = await _connections_opened(redis)
        waits = [ours.xread({f"stream_{number}": "0"}, block=300) for number in range(AT_ONCE)]
        await asyncio.gather(*waits)
        assert await _connections_opened(redis) == before
        await asyncio.gather(*(ours.xread({"stream": "0"}, block=300) for _ in range(AT_ONCE + 1)))
        assert await _connections_opened(redis) == before + 1
    finally:
        await ours.aclose()


async def test_a_redis_that_is_away_is_no_reason_to_stop(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
    ours = connect(settings.model_copy(update={"redis_url": url}))
    try:
        await open_ahead(ours, 3)
    finally:
        await ours.aclose()


async def _connections_opened(redis: Redis) -> int:
    return int((await redis.info("stats"))["total_connections_received"])
