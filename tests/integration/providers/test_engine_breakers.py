"""The circuit breaker of a speech engine: two workers, one real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from workers.providers.speech.engine_breaker import ENGINE_RULE, EngineBreaker, engine_name
from workers.providers.speech.speech_endpoint import EndpointError, SpeechEndpoint
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import Breakers

ENDPOINT = SpeechEndpoint("http://127.0.0.1:1/v1", "stub")
NAME = engine_name(ENDPOINT)
DEAD = EndpointError("disconnected", "scripted")


@dataclass
class Workers:
    """Two processes' breakers of one engine, and what the second reads in Redis."""

    redis: Redis
    one: EngineBreaker
    other: EngineBreaker
    shared: Breakers

    async def pass_the_time(self) -> None:
        """Let the engine have been left alone for long enough."""
        await self.redis.hset(f"stt:breaker:{NAME}", "open_until", "1")
        assert await self.shared.states([NAME]) == ["half_open"]


@pytest.fixture
async def workers(redis: Redis, settings: Settings) -> AsyncIterator[Workers]:
    second = connect(settings)
    shared = Breakers(second, ENGINE_RULE, "stt")
    first = EngineBreaker(Breakers(redis, ENGINE_RULE, "stt"), ENDPOINT)
    yield Workers(redis, first, EngineBreaker(shared, ENDPOINT), shared)
    await second.aclose()


async def test_failures_of_two_workers_open_it_for_both(workers: Workers) -> None:
    assert await workers.one.may_ask()
    await workers.one.failed(DEAD)
    assert await workers.other.may_ask()
    await workers.other.failed(DEAD)
    assert workers.other.is_open
    assert not await workers.one.may_ask()
    assert workers.one.is_open


async def test_a_break_in_mid_sentence_opens_it_at_once(workers: Workers) -> None:
    await workers.one.failed(DEAD, for_good=True)
    assert not workers.other.is_open
    await workers.other.look()
    assert workers.other.is_open


async def test_when_its_time_is_up_one_worker_may_try_and_its_success_counts_for_all(
    workers: Workers,
) -> None:
    await workers.one.failed(DEAD, for_good=True)
    await workers.pass_the_time()
    assert [await workers.one.may_ask(), await workers.other.may_ask()] == [True, False]
    assert workers.other.is_open
    await workers.one.succeeded()
    assert await workers.other.may_ask()
    assert await workers.shared.states([NAME]) == ["closed"]


@pytest.mark.parametrize("ending", [asyncio.CancelledError, EndpointError("empty", "scripted")])
async def test_a_trial_that_says_nothing_leaves_the_next_to_another(
    workers: Workers, ending: BaseException | type[BaseException]
) -> None:
    await workers.one.failed(DEAD, for_good=True)
    await workers.pass_the_time()
    with contextlib.suppress(asyncio.CancelledError, EndpointError):
        async with workers.one.asking() as may_ask:
            assert may_ask
            assert not await workers.other.may_ask()
            raise ending
    assert await workers.other.may_ask()


async def test_a_trial_that_fails_leaves_it_open(workers: Workers) -> None:
    await workers.one.failed(DEAD, for_good=True)
    await workers.pass_the_time()
    async with workers.one.asking():
        await workers.one.failed(DEAD)
    assert not await workers.other.may_ask()


@pytest.mark.parametrize(
    "error",
    [
        EndpointError("empty", "scripted"),
        EndpointError("http_4xx", "scripted", 400),
        EndpointError("http_4xx", "scripted", 422),
    ],
    ids=str,
)
async def test_what_one_users_words_can_bring_about_rests_no_engine_for_others(
    workers: Workers, error: EndpointError
) -> None:
    for _ in range(ENGINE_RULE.failures + 1):
        await workers.one.failed(error)
    assert await workers.shared.states([NAME]) == ["closed"]
    for _ in range(ENGINE_RULE.failures):
        await workers.one.failed(EndpointError("http_4xx", "scripted", 401))
    assert await workers.shared.states([NAME]) == ["open"]


async def test_a_success_between_two_failures_keeps_it_closed(workers: Workers) -> None:
    for _ in range(ENGINE_RULE.failures + 1):
        assert await workers.one.may_ask()
        await workers.one.failed(DEAD)
        assert await workers.other.may_ask()
        await workers.other.succeeded()
    assert await workers.one.may_ask()


async def test_each_trial_that_fails_doubles_the_wait_up_to_a_bound(workers: Workers) -> None:
    await workers.one.failed(DEAD, for_good=True)
    waits = []
    for _ in range(7):
        (circuit,) = await workers.shared.circuits([NAME])
        waits.append(circuit.left_s)
        await workers.pass_the_time()
        assert await workers.one.may_ask()
        await workers.one.failed(DEAD)
    assert waits == pytest.approx([10, 20, 40, 80, 160, 300, 300], abs=8)
    assert await workers.redis.ttl(f"stt:breaker:{NAME}") > ENGINE_RULE.longest_s


async def test_the_ear_and_the_voice_of_one_server_have_a_breaker_each(workers: Workers) -> None:
    await workers.one.failed(DEAD, for_good=True)
    voice = EngineBreaker(Breakers(workers.redis, ENGINE_RULE, "tts"), ENDPOINT)
    assert await voice.may_ask()


async def test_without_redis_the_engine_is_asked(settings: Settings) -> None:
    away = connect(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    breaker = EngineBreaker(Breakers(away, ENGINE_RULE, "stt"), ENDPOINT)
    for _ in range(ENGINE_RULE.failures):
        await breaker.failed(DEAD)
    assert await breaker.may_ask()
    await breaker.succeeded()
    await away.aclose()
