"""Limits by the minute: alike in Redis and, where Redis is away, in the process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.llm_gateway.limits import Bucket, RateLimits
from workers.llm_gateway.models_file import Limits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["redis", "process"])
async def limits(request: pytest.FixtureRequest, redis: Redis) -> RateLimits:
    return RateLimits(redis if request.param == "redis" else None, now=Clock())


async def test_as_many_as_the_limit_come_in_at_once_and_the_next_waits(limits: RateLimits) -> None:
    allowed = Limits(requests_per_minute=6)
    assert [await limits.enter("a", allowed) for _ in range(6)] == [0] * 6
    assert 9 <= await limits.enter("a", allowed) <= 10
    assert await limits.enter("b", allowed) == 0


async def test_tokens_are_taken_afterwards_and_may_overdraw(limits: RateLimits) -> None:
    allowed = Limits(tokens_per_minute=60)
    assert await limits.enter("a", allowed) == 0
    await limits.spend("a", allowed, 90)
    assert 29 <= await limits.enter("a", allowed) <= 31


async def test_a_refused_request_takes_nothing(limits: RateLimits) -> None:
    both = Limits(requests_per_minute=2, tokens_per_minute=60)
    await limits.spend("a", both, 60)
    assert await limits.enter("a", both) > 0
    requests = Limits(requests_per_minute=2)
    assert [await limits.enter("a", requests) for _ in range(2)] == [0, 0]


async def test_without_a_limit_nothing_is_asked(limits: RateLimits) -> None:
    assert [await limits.enter("a", Limits()) for _ in range(100)] == [0] * 100


async def test_time_fills_the_bucket_again() -> None:
    clock = Clock()
    limits, allowed = RateLimits(None, now=clock), Limits(requests_per_minute=60)
    assert [await limits.enter("a", allowed) for _ in range(61)] == [0] * 60 + [1]
    clock.now = 10
    assert [await limits.enter("a", allowed) for _ in range(11)] == [0] * 10 + [1]


async def test_redis_away_the_process_keeps_the_limits_and_leaves_redis_alone_for_a_while() -> None:
    clock, redis = Clock(), Redis(host="127.0.0.1", port=1)
    limits, allowed = RateLimits(redis, now=clock), Limits(requests_per_minute=1)
    assert await limits.enter("a", allowed) == 0
    assert await limits.enter("a", allowed) > 0
    await redis.aclose()


@given(st.floats(-1e6, 1e6), st.integers(1, 10**9), st.floats(0, 1e6))
def test_after_the_wait_there_is_one(level: float, size: int, later: float) -> None:
    bucket = Bucket(min(level, size), 0.0)
    filled = bucket.filled(size, bucket.wait_s(size) + later)
    assert filled.level >= 1 - 1e-3
    assert filled.level <= size
