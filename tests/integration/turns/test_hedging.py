"""The next entry is asked, too, when the first is later than usual; the loser is closed."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from schemas.chat import Answered
from tests.integration.turns.chain import REQUEST, Chain, read, running_chain
from tests.servers.stalls import Stalls
from workers.turns.answering import AnsweringRule
from workers.turns.latencies import ENDPOINTS, ENOUGH, Latencies

USUAL_S = 0.1


@pytest.fixture
async def chain(redis: Redis) -> AsyncIterator[Chain]:
    async with running_chain(redis, 2) as chain:
        chain.rule = AnsweringRule(next_entry_s=8, hedging=True)
        for _ in range(ENOUGH):
            chain.latencies.add(chain.name(0), USUAL_S)
        yield chain


async def test_a_late_entry_loses_to_the_next_and_is_closed_at_once(
    chain: Chain, stalls: Stalls
) -> None:
    chain.servers[0].script = "stall"
    started = time.monotonic()
    async with chain.chat().stream(REQUEST) as events:
        answered = await anext(aiter(events))
        answered_at = time.monotonic()
        loser = chain.servers[0].requests[0]
        async with asyncio.timeout(1):
            await loser.closed.wait()
    assert isinstance(answered, Answered)
    assert (answered.entry, answered.tries) == (1, 2)
    assert answered_at - started >= USUAL_S
    assert loser.closed_at is not None
    assert stalls.seconds(answered_at, loser.closed_at) < 0.1


async def test_an_entry_that_loses_again_and_again_is_known_to_be_slow(chain: Chain) -> None:
    chain.servers[0].script = "stall"
    for _ in range(2):
        assert isinstance((await chain.ask())[0], Answered)
    usual_s = chain.latencies.p95(chain.name(0))
    assert usual_s is not None
    assert usual_s > USUAL_S


async def test_an_entry_that_is_late_but_first_wins(chain: Chain) -> None:
    chain.servers[1].script = "stall"
    chain.servers[0].script = "say;ttft=0.3"
    events = await read(chain.chat())
    assert isinstance(events[0], Answered)
    assert events[0].entry == 0
    (loser,) = chain.servers[1].requests
    async with asyncio.timeout(1):
        await loser.closed.wait()


async def test_an_entry_in_its_usual_time_is_asked_alone(chain: Chain) -> None:
    for _ in range(ENOUGH):
        chain.latencies.add(chain.name(0), chain.rule.next_entry_s)
    for _ in range(3):
        await read(chain.chat())
    assert not chain.servers[1].requests


async def test_without_the_setting_the_first_has_all_its_time(chain: Chain) -> None:
    chain.rule = AnsweringRule(next_entry_s=0.4)
    chain.servers[0].script = "stall"
    started = time.monotonic()
    await read(chain.chat())
    assert chain.servers[1].requests[0].arrived_at - started >= 0.4


async def test_a_caller_who_leaves_closes_both(chain: Chain, stalls: Stalls) -> None:
    for server in chain.servers:
        server.script = "stall"
    reading = asyncio.create_task(read(chain.chat()))
    requests = [await server.wait_for_request() for server in chain.servers]
    left_at = time.monotonic()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    async with asyncio.timeout(1):
        await asyncio.gather(*(request.closed.wait() for request in requests))
    last_closed_at = max(request.closed_at or 0 for request in requests)
    assert stalls.seconds(left_at, last_closed_at) < 0.1


def test_what_is_remembered_of_latencies_is_bounded() -> None:
    latencies = Latencies()
    for number in range(ENDPOINTS + 5):
        for _ in range(ENOUGH):
            latencies.add(str(number), number)
    assert latencies.p95("4") is None
    assert latencies.p95(str(ENDPOINTS + 4)) == ENDPOINTS + 4
    for seconds in range(1, 101):
        latencies.add("spread", seconds)
    assert latencies.p95("spread") == 95
