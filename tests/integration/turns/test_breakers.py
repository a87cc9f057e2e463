"""Circuit breakers in a real Redis, and what they change for a turn."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from schemas.chat import Answered
from tests.integration.turns.chain import Chain, read, running_chain
from tests.servers.stalls import Stalls
from workers.errors import ModelError
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name

RULE = BreakerRule(failures=3, open_s=0.5)
NAME = endpoint_name("one", "https://models.example.com", "m")


@pytest.fixture
def breakers(redis: Redis) -> Breakers:
    return Breakers(redis, RULE)


async def opened(breakers: Breakers, name: str = NAME) -> None:
    for _ in range(RULE.failures):
        await breakers.failed(name)
    assert await breakers.states([name]) == ["open"]


async def rested(breakers: Breakers, name: str = NAME) -> None:
    async with asyncio.timeout(5):
        while await breakers.states([name]) == ["open"]:  # noqa: ASYNC110  # Redis tells nobody
            await asyncio.sleep(0.01)


async def half_open(breakers: Breakers) -> None:
    await opened(breakers)
    await rested(breakers)
    assert await breakers.states([NAME]) == ["half_open"]


async def test_it_opens_at_the_last_failure_in_a_row(breakers: Breakers) -> None:
    assert await breakers.states([NAME]) == ["closed"]
    for _ in range(RULE.failures - 1):
        await breakers.failed(NAME)
        assert await breakers.states([NAME]) == ["failing"]
    await breakers.succeeded(NAME)
    assert await breakers.states([NAME]) == ["closed"]
    await opened(breakers)
    assert not await breakers.may_try(NAME)


async def test_half_open_it_lets_one_through_of_many_workers(
    breakers: Breakers, settings: Settings
) -> None:
    await half_open(breakers)
    others = [connect(settings) for _ in range(4)]
    asked = [Breakers(other, RULE).may_try(NAME) for other in others for _ in range(10)]
    assert sum(await asyncio.gather(*asked)) == 1
    assert await breakers.states([NAME]) == ["open"]
    for other in others:
        await other.aclose()


async def test_the_trial_decides(breakers: Breakers) -> None:
    await half_open(breakers)
    assert await breakers.may_try(NAME)
    await breakers.failed(NAME)
    assert await breakers.states([NAME]) == ["open"]
    await breakers.succeeded(NAME)
    assert await breakers.states([NAME]) == ["closed"]


async def test_failures_under_way_at_the_same_time_do_not_prolong_it(
    breakers: Breakers, stalls: Stalls
) -> None:
    started = time.monotonic()
    await asyncio.gather(*(breakers.failed(NAME) for _ in range(50)))
    await rested(breakers)
    assert stalls.seconds(started, time.monotonic()) < RULE.open_s + 0.3


async def test_an_accounts_endpoint_has_nothing_to_do_with_anothers(breakers: Breakers) -> None:
    place = ("https://models.example.com", "m")
    names = [endpoint_name(account, *place) for account in ("one", "two", None)]
    await opened(breakers, names[0])
    assert await breakers.states(names) == ["open", "closed", "closed"]
    assert "example" not in "".join(names)


async def test_every_key_ends_by_itself(breakers: Breakers, redis: Redis) -> None:
    await breakers.failed(endpoint_name("two", "", ""))
    await half_open(breakers)
    await breakers.may_try(NAME)
    keys = await redis.keys("llm:breaker:*")
    assert len(keys) == 2
    assert all([0 < await redis.ttl(key) < 120 for key in keys])


async def test_without_redis_it_counts_as_closed(settings: Settings, stalls: Stalls) -> None:
    away = connect(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    breakers = Breakers(away, RULE)
    started = time.monotonic()
    for _ in range(RULE.failures):
        await breakers.failed(NAME)
    assert await breakers.states([NAME, NAME]) == ["closed", "closed"]
    assert await breakers.may_try(NAME)
    await breakers.succeeded(NAME)
    assert stalls.seconds(started, time.monotonic()) < 2.5
    await away.aclose()


@pytest.fixture
async def chain(redis: Redis) -> AsyncIterator[Chain]:
    async with running_chain(redis, 2) as chain:
        chain.breaker_rule = BreakerRule(failures=2, open_s=1.5)
        yield chain


async def test_an_endpoint_that_keeps_failing_is_left_alone_then_tried_by_one(
    chain: Chain,
) -> None:
    first, second = chain.servers
    first.script = "500"
    await chain.ask()
    assert len(first.requests) == 2
    for _ in range(3):
        events = await chain.ask()
        assert isinstance(events[0], Answered)
        assert (events[0].entry, events[0].tries) == (1, 1)
        assert [f.code for f in events[0].failures] == ["circuit_open"]
    assert len(first.requests) == 2

    await rested(Breakers(chain.redis, chain.breaker_rule), chain.name(0))
    first.script = "say;ttft=0.5"
    answers = await asyncio.gather(*(chain.ask() for _ in range(5)))
    assert sorted(a[0].entry or 0 for a in answers if isinstance(a[0], Answered)) == [0, 1, 1, 1, 1]
    assert len(first.requests) == 3
    assert isinstance((await chain.ask())[0], Answered)
    assert len(first.requests) == 4
    assert len(second.requests) == 8


async def test_an_agent_whose_only_model_rests_fails_at_once(chain: Chain, stalls: Stalls) -> None:
    chain.be_hasty()
    del chain.servers[1]
    chain.servers[0].script = "stall"
    for _ in range(2):
        with pytest.raises(ModelError):
            await chain.ask()
    started = time.monotonic()
    with pytest.raises(ModelError) as caught:
        await chain.ask()
    assert caught.value.failure == "circuit_open"
    assert caught.value.can_retry
    assert stalls.seconds(started, time.monotonic()) < chain.budget.first_token_s
    assert len(chain.servers[0].requests) == 2


async def test_a_refused_key_speaks_against_nobodys_endpoint(chain: Chain) -> None:
    chain.servers[0].script = "401"
    for _ in range(4):
        await read(chain.chat())
    assert len(chain.servers[0].requests) == 4
