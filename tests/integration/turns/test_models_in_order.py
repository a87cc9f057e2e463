"""Entries are asked in order, each in its time; nothing is asked again after the first word."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from schemas.chat import Answered, ChatEvent, Content, Finished
from tests.integration.turns.chain import HASTY, QUICK_RULE, Chain, read, running_chain
from tests.servers.model_server import ModelServer
from tests.servers.stalls import Stalls
from workers.errors import ModelError
from workers.storage.turns.breakers import Breakers


@pytest.fixture
async def chain(redis: Redis) -> AsyncIterator[Chain]:
    async with running_chain(redis, 2) as chain:
        yield chain


def text(events: list[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Content))


def attempts(*servers: ModelServer) -> list[str]:
    return [r.headers["x-edgewise-attempt"] for server in servers for r in server.requests]


async def all_closed(chain: Chain) -> None:
    async with asyncio.timeout(2):
        for server in chain.servers:
            await asyncio.gather(*(request.closed.wait() for request in server.requests))


async def test_the_first_entry_answers_and_no_other_is_asked(chain: Chain) -> None:
    events = await chain.ask()
    assert events[0] == Answered(entry=0, model="model-0", tries=1)
    assert text(events).startswith("I am number 0.")
    assert events[-2] == Finished("stop")
    assert attempts(*chain.servers) == ["1"]
    assert chain.servers[0].requests[0].headers["authorization"] == "Bearer sk-0"


FAULTS = {
    "stall": ("timeout_first_token", 1),
    "keepalive@0": ("timeout_first_token", 1),
    "role-only@0": ("timeout_first_token", 1),
    "reset@0": ("disconnected", 2),
    "close@0": ("empty", 2),
    "only-done@0": ("empty", 2),
    "error@0": ("http_5xx", 2),
    "500": ("http_5xx", 2),
    "503": ("http_5xx", 2),
    "error-429@0": ("http_429", 1),
    "429": ("http_429", 1),
    "401": ("http_4xx", 1),
    "redirect": ("http_3xx", 1),
    "html": ("bad_content_type", 1),
    "json": ("bad_content_type", 1),
    "gzip": ("bad_content_type", 1),
    "broken-json@0": ("bad_sse", 1),
    "huge-line@0": ("too_large", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_before_the_first_word_the_next_entry_takes_over(
    chain: Chain, stalls: Stalls, fault: str
) -> None:
    first, second = chain.servers
    first.script = fault
    failure, asked = FAULTS[fault]
    if failure == "timeout_first_token":
        chain.be_hasty()
    started = time.monotonic()
    events = await chain.ask()
    took_s = stalls.seconds(started, second.requests[0].first_token_at or 0)

    assert text(events).startswith("I am number 1.")
    answered = events[0]
    assert isinstance(answered, Answered)
    assert (answered.entry, answered.model, answered.tries) == (1, "model-1", asked + 1)
    assert [(f.entry, f.model, f.code) for f in answered.failures] == [
        (0, "model-0", failure)
    ] * asked
    assert attempts(first, second) == [str(number + 1) for number in range(asked + 1)]
    assert second.requests[0].headers["authorization"] == "Bearer sk-1"
    assert took_s < min(chain.rule.next_entry_s, 2) + 0.5
    await all_closed(chain)


@pytest.mark.parametrize("after", [1, 40])
@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("stall", "timeout_inter_token"),
        ("reset", "disconnected"),
        ("close", "incomplete"),
        ("error", "http_5xx"),
        ("broken-json", "bad_sse"),
    ],
)
async def test_after_the_first_word_nothing_is_asked_again(
    chain: Chain, fault: str, failure: str, after: int
) -> None:
    chain.servers[0].script = f"{fault}@{after}"
    if failure == "timeout_inter_token":
        chain.be_hasty()
    got: list[ChatEvent] = []
    with pytest.raises(ModelError) as caught:
        await read(chain.chat(), got)
    assert caught.value.failure == failure
    assert (caught.value.tries, [f.code for f in caught.value.failures]) == (0, [failure])
    assert isinstance(got[0], Answered)
    assert sum(isinstance(event, Content) for event in got) == after
    assert attempts(*chain.servers) == ["1"]
    await all_closed(chain)


async def test_an_entry_that_fails_once_is_asked_once_more(chain: Chain) -> None:
    chain.servers[0].script = "flaky"
    events = await chain.ask()
    assert text(events).startswith("I am number 0.")
    assert attempts(*chain.servers) == ["1", "2"]


async def test_when_all_fail_the_last_failure_counts_and_all_are_told(chain: Chain) -> None:
    chain.servers[0].script, chain.servers[1].script = "500", "401"
    with pytest.raises(ModelError) as caught:
        await chain.ask()
    error = caught.value
    assert (error.failure, error.status_code, error.tries) == ("http_4xx", 401, 3)
    assert [(f.entry, f.code, f.status_code) for f in error.failures] == [
        (0, "http_5xx", 500),
        (0, "http_5xx", 500),
        (1, "http_4xx", 401),
    ]


async def test_the_last_entry_has_the_longer_deadline(chain: Chain) -> None:
    chain.be_hasty()
    for server in chain.servers:
        server.script = "stall"
    with pytest.raises(ModelError) as caught:
        await chain.ask()
    assert caught.value.failure == "timeout_first_token"
    first, last = caught.value.failures
    assert 1000 * QUICK_RULE.next_entry_s - 50 < first.after_ms
    assert 1000 * HASTY.first_token_s - 50 < last.after_ms


async def test_all_of_it_ends_with_the_one_budget_of_the_turn(chain: Chain, stalls: Stalls) -> None:
    chain.budget = replace(chain.budget, total_s=0.6)
    for server in chain.servers:
        server.script = "stall"
    started = time.monotonic()
    with pytest.raises(ModelError):
        await chain.ask()
    assert stalls.seconds(started, time.monotonic()) < 0.6 + 0.5


async def test_a_busy_endpoint_is_waited_for_where_its_retry_after_fits(
    chain: Chain, stalls: Stalls
) -> None:
    first = chain.servers[0]
    first.script = "429;retry=1"
    asking = asyncio.create_task(chain.ask())
    await (await first.wait_for_request()).closed.wait()
    first.script = "say"
    assert text(await asking).startswith("I am number 0.")
    again, before = first.requests[1].arrived_at, first.requests[0].arrived_at
    assert again - before >= 1
    assert stalls.seconds(before, again) < 1.5


@pytest.mark.parametrize("status", ["429", "503"])
async def test_the_next_entry_is_asked_where_retry_after_does_not_fit(
    chain: Chain, stalls: Stalls, status: str
) -> None:
    first, second = chain.servers
    first.script = f"{status};retry=60"
    assert text(await chain.ask()).startswith("I am number 1.")
    assert stalls.seconds(first.requests[0].arrived_at, second.requests[0].arrived_at) < 1
    assert len(first.requests) == 1


async def test_a_key_that_does_not_open_is_no_reason_to_be_silent(chain: Chain) -> None:
    chain.locked = frozenset({0})
    events = await chain.ask()
    assert text(events).startswith("I am number 1.")
    assert attempts(*chain.servers) == ["1"]
    assert isinstance(events[0], Answered)
    assert [f.code for f in events[0].failures] == ["credentials_unavailable"]


async def test_a_key_that_takes_too_long_to_open_has_the_time_of_a_first_word(
    chain: Chain,
) -> None:
    chain.rule, chain.stuck = QUICK_RULE, frozenset({0})
    events = await chain.ask()
    assert text(events).startswith("I am number 1.")
    assert isinstance(events[0], Answered)
    assert [f.code for f in events[0].failures] == ["credentials_unavailable"]
    assert await Breakers(chain.redis, chain.breaker_rule).states([chain.name(0)]) == ["closed"]


async def test_an_entry_that_is_gone_is_passed_over(chain: Chain) -> None:
    async with ModelServer() as gone:
        pass
    chain.servers.insert(0, gone)
    assert text(await chain.ask()).startswith("I am number 0.")


async def test_a_caller_who_leaves_closes_the_connection_within_100_ms(
    chain: Chain, stalls: Stalls
) -> None:
    for script in ("stall", "stall@1"):
        chain.servers[0].script = script
        chain.servers[0].requests.clear()
        reading = asyncio.create_task(read(chain.chat()))
        request = await chain.servers[0].wait_for_request()
        left_at = time.monotonic()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await all_closed(chain)
        assert request.closed_at is not None
        assert stalls.seconds(left_at, request.closed_at) < 0.1
        assert "llm-first-word" not in {task.get_name() for task in asyncio.all_tasks()}
