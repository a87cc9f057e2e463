"""Circuit breakers in a real Redis, and what they change for a turn."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from schemas.chat import Answered
from tests.integration.turns.chain import REQUEST, Chain, read, running_chain
from tests.servers.stalls import Stalls
from workers.errors import ModelError
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name
from workers.turns.answering import AnsweringRule
from workers.turns.latencies import ENOUGH

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


async def test_a_trial_that_is_given_back_is_anothers_at_once(breakers: Breakers) -> None:
    await half_open(breakers)
    assert await breakers.may_try(NAME)
    assert not await breakers.may_try(NAME)
    await breakers.give_back(NAME)
    assert await breakers.may_try(NAME)


async def test_after_the_first_word_of_a_trial_all_may_ask_and_one_failure_is_enough(
    breakers: Breakers,
) -> None:
    await half_open(breakers)
    assert await breakers.may_try(NAME)
    await breakers.spoke(NAME)
    assert await breakers.states([NAME]) == ["failing"]
    assert await breakers.may_try(NAME)
    await breakers.failed(NAME)
    assert await breakers.states([NAME]) == ["open"]


async def test_a_word_of_a_trial_that_is_over_changes_nothing(breakers: Breakers) -> None:
    await breakers.spoke(NAME)
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


@pytest.fixture
async def recovered(chain: Chain) -> Chain:
    """A chain whose one endpoint failed until a moment ago."""
    del chain.servers[1]
    await opened(breakers := Breakers(chain.redis, chain.breaker_rule), chain.name(0))
    await rested(breakers, chain.name(0))
    return chain


async def called_off(chain: Chain, after: int) -> None:
    """Ask, and leave after that many events."""
    async with chain.chat().stream(REQUEST) as events:
        for _ in range(after):
            await anext(events)


async def test_a_trial_that_is_called_off_before_a_word_is_left_to_the_next(
    recovered: Chain,
) -> None:
    server = recovered.servers[0]
    server.script = "stall"
    guess = asyncio.create_task(called_off(recovered, 1), name="test-guess")
    await server.wait_for_request()
    guess.cancel()
    await asyncio.wait([guess])
    server.script = "say"
    assert isinstance((await recovered.ask())[0], Answered)


async def test_a_trial_that_is_interrupted_after_some_words_is_no_reason_to_wait(
    recovered: Chain,
) -> None:
    recovered.servers[0].script = "story;rate=100"
    await called_off(recovered, 10)
    recovered.servers[0].script = "say"
    assert isinstance((await recovered.ask())[0], Answered)


async def test_a_trial_that_breaks_off_after_its_first_word_opens_it_again(
    recovered: Chain,
) -> None:
    recovered.servers[0].script = "reset@3"
    for expected in ("disconnected", "circuit_open"):
        with pytest.raises(ModelError) as caught:
            await recovered.ask()
        assert caught.value.failure == expected


async def test_a_trial_that_is_refused_tells_the_next_the_same(recovered: Chain) -> None:
    recovered.servers[0].script = "401"
    for _ in range(3):
        with pytest.raises(ModelError) as caught:
            await recovered.ask()
        assert caught.value.failure == "http_4xx"


async def test_a_hedge_that_loses_its_trial_gives_it_back(chain: Chain) -> None:
    first, second = chain.servers
    breakers = Breakers(chain.redis, chain.breaker_rule)
    chain.rule = AnsweringRule(next_entry_s=8, hedging=True)
    for _ in range(ENOUGH):
        chain.latencies.add(chain.name(0), 0.05)
    await opened(breakers, chain.name(1))
    await rested(breakers, chain.name(1))
    first.script, second.script = "say;ttft=0.5", "stall"
    assert (await chain.ask())[0] == Answered(0, "model-0", 2)
    assert len(second.requests) == 1
    assert await breakers.states([chain.name(1)]) == ["half_open"]


async def test_a_refused_key_speaks_against_nobodys_endpoint(chain: Chain) -> None:
    chain.servers[0].script = "401"
    for _ in range(4):
        await read(chain.chat())
    assert len(chain.servers[0].requests) == 4
