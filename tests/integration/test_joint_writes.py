"""Many writers of streams on a real Redis: together, in order, and each with its own failure."""

import asyncio
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from workers.storage.turns.joint_writes import EXPIRE_S, JointWrites


def entry(text: str) -> dict[str, str | bytes]:
    return {"body": text}


async def written(redis: Redis, stream: str) -> list[bytes]:
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(stream))
    return [fields[b"body"] for _, fields in found]


async def transactions(redis: Redis) -> int:
    return int((await redis.info("commandstats")).get("cmdstat_exec", {}).get("calls", 0))


async def test_many_writers_share_round_trips_and_each_stream_keeps_its_order(redis: Redis) -> None:
    writes, before = JointWrites(redis), await transactions(redis)

    async def write(stream: str) -> None:
        for number in range(5):
            await writes.write(stream, [entry(f"{number}a"), entry(f"{number}b")])

    streams = [f"stream {number}" for number in range(40)]
    await asyncio.gather(*[write(stream) for stream in streams])

    whole = [f"{number}{half}".encode() for number in range(5) for half in "ab"]
    assert [await written(redis, stream) for stream in streams] == [whole] * 40
    assert all([0 < await redis.ttl(stream) <= EXPIRE_S for stream in streams])
    assert await transactions(redis) - before < 40


async def test_a_stream_that_cannot_be_written_is_its_own_writers_trouble(redis: Redis) -> None:
    writes = JointWrites(redis)
    await redis.set("no stream", "a string")
    failed, *others = await asyncio.gather(
        writes.write("no stream", [entry("x")]),
        *[writes.write(f"stream {number}", [entry("y")]) for number in range(3)],
        return_exceptions=True,
    )
    assert isinstance(failed, ResponseError)
    assert others == [None] * 3
    assert [await written(redis, f"stream {number}") for number in range(3)] == [[b"y"]] * 3


async def test_who_is_cancelled_takes_nobody_along(redis: Redis) -> None:
    writes = JointWrites(redis)
    under_way = asyncio.create_task(writes.write("first", [entry("a")]))
    waiting = [asyncio.create_task(writes.write("second", [entry(text)])) for text in "bcd"]
    await asyncio.sleep(0)
    under_way.cancel()
    waiting[1].cancel()
    await asyncio.gather(under_way, *waiting, return_exceptions=True)

    await writes.write("second", [entry("e")])
    found = await written(redis, "second")
    assert [found[0], found[-1]] == [b"b", b"e"]
    assert set(found) - {b"c"} == {b"b", b"d", b"e"}


async def test_where_redis_is_gone_every_writer_hears_of_it() -> None:
    async with Redis(unix_socket_path="/nonexistent/redis.sock") as gone:
        writes = JointWrites(gone)
        for _ in range(2):
            failures = await asyncio.gather(
                *[writes.write(f"stream {n}", [entry("x")]) for n in range(3)],
                return_exceptions=True,
            )
            assert all(isinstance(failure, RedisError) for failure in failures)
