"""Whatever a model's endpoint does, the turn ends in time, with its class and a spoken line."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from schemas.turn import ReplyText, TurnError
from tests.fakes.stage import END, SPEECH, Stage
from tests.integration.turns.chain import Chain, running_chain
from tests.integration.turns.failed_turn import AT_ONCE_S, clean_turn, failed_turn
from tests.servers.relay import Relay
from tests.servers.stalls import Stalls
from workers.providers.chat import Budget
from workers.turns.lines import BROKEN_OFF
from workers.turns.ports import Pace
from workers.turns.unsaid import LAST_WORDS

PATIENT = Budget(connect_s=5, first_token_s=10, between_tokens_s=10, total_s=20)
HASTY = Budget(connect_s=0.4, first_token_s=0.5, between_tokens_s=0.4, total_s=1.5)
"""For those who shall be too late."""
UNREACHED = "Sorry, I could not reach the language model."
REFUSED = "Sorry, the language model refused my request."
BUSY = "Sorry, the language model is busy. Please try again in a moment."
NONSENSE = "Sorry, the language model did not give a usable answer."
SLOW = "Sorry, the language model takes too long."


@pytest.fixture
async def chain(redis: Redis) -> AsyncIterator[Chain]:
    async with running_chain(redis, 1) as chain:
        chain.budget = PATIENT
        chain.servers[0].say = " ".join(f"This is sentence number {n}." for n in range(20))
        yield chain


BEFORE_ANY = {
    "stall": ("timeout_first_token", SLOW),
    "stall@0": ("timeout_first_token", SLOW),
    "keepalive@0": ("timeout_first_token", SLOW),
    "role-only@0": ("timeout_first_token", SLOW),
    "blanks@0": ("timeout_first_token", SLOW),
    "reset@0": ("disconnected", UNREACHED),
    "close@0": ("empty", NONSENSE),
    "only-done@0": ("empty", NONSENSE),
    "broken-json@0": ("bad_sse", NONSENSE),
    "error@0": ("http_5xx", UNREACHED),
    "error-429@0": ("http_429", BUSY),
    "huge-line@0": ("too_large", NONSENSE),
    "html": ("bad_content_type", NONSENSE),
    "json": ("bad_content_type", NONSENSE),
    "gzip": ("bad_content_type", NONSENSE),
    "401": ("http_4xx", REFUSED),
    "429": ("http_429", BUSY),
    "429;retry=60": ("http_429", BUSY),
    "500": ("http_5xx", UNREACHED),
    "503;retry=60": ("http_5xx", UNREACHED),
    "redirect": ("http_3xx", REFUSED),
}


@pytest.mark.parametrize("fault", BEFORE_ANY)
async def test_a_fault_before_the_first_word_is_heard_as_what_it_is(
    chain: Chain, fault: str
) -> None:
    failure, line = BEFORE_ANY[fault]
    chain.budget = HASTY if failure.startswith("timeout") else PATIENT
    chain.servers[0].script = fault
    stage = Stage()
    within_s = chain.budget.first_token_s if failure.startswith("timeout") else AT_ONCE_S
    error = await failed_turn(chain, stage, within_s)
    assert error.code == stage.done.metrics.failures[-1].code == failure
    assert len(set(stage.texts)) == len(stage.texts)
    assert stage.texts == [line]


LATER = {
    "stall": ("timeout_inter_token", NONSENSE),
    "keepalive": ("timeout_inter_token", NONSENSE),
    "role-only": ("timeout_inter_token", NONSENSE),
    "blanks": ("timeout_inter_token", NONSENSE),
    "reset": ("disconnected", UNREACHED),
    "close": ("incomplete", NONSENSE),
    "only-done": ("incomplete", NONSENSE),
    "broken-json": ("bad_sse", NONSENSE),
    "error": ("http_5xx", UNREACHED),
    "huge-line": ("too_large", NONSENSE),
}


@pytest.mark.parametrize("after", [1, 40])
@pytest.mark.parametrize("fault", LATER)
async def test_a_fault_after_the_first_word_ends_the_reply_and_starts_no_other(
    chain: Chain, fault: str, after: int
) -> None:
    failure, before_any_sentence = LATER[fault]
    chain.budget = HASTY if failure.startswith("timeout") else PATIENT
    chain.servers[0].script = f"{fault}@{after}"
    stage = Stage()
    within_s = chain.budget.between_tokens_s if failure.startswith("timeout") else AT_ONCE_S
    error = await failed_turn(chain, stage, within_s)
    assert error.code == stage.done.metrics.failures[-1].code == failure
    assert len(set(stage.texts)) == len(stage.texts)
    assert len(chain.servers[0].requests) == 1
    *said, last = stage.texts
    if after == 1:
        assert (said, last) == ([], before_any_sentence)
    else:
        assert said == [f"This is sentence number {n}." for n in range(8)]
        assert last == BROKEN_OFF


@pytest.mark.parametrize("after", [0, 1, 40])
async def test_content_without_end_is_cut_off(chain: Chain, after: int) -> None:
    chain.servers[0].script = f"huge-content@{after}"
    stage = Stage()
    error = await failed_turn(chain, stage)
    assert error.code == "too_large"
    assert len(set(stage.texts)) == len(stage.texts)
    assert stage.texts[-1] == BROKEN_OFF


async def test_content_without_end_is_cut_off_while_the_voice_is_at_its_first_sentence(
    chain: Chain,
) -> None:
    chain.servers[0].script = "huge-content@0"
    stage = Stage(real_chat=chain.chat())
    stage.tts.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        request = await chain.servers[0].wait_for_request()
        async with asyncio.timeout(AT_ONCE_S + 0.5):
            await request.closed.wait()
        assert len(stage.texts) == 1
        stage.tts.go.set()
    (error,) = stage.of(TurnError)
    assert error.code == "too_large"
    assert len(stage.texts) == 1 + LAST_WORDS + 1
    assert stage.texts[-1] == BROKEN_OFF


async def test_a_whole_reply_is_said_whole_however_slow_the_voice(chain: Chain) -> None:
    chain.budget = replace(PATIENT, total_s=2)
    chain.servers[0].say = " ".join(f"Point {n}!" for n in range(40))
    chain.servers[0].token_s = 0.005
    stage = Stage(real_chat=chain.chat())
    stage.tts.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        request = await chain.servers[0].wait_for_request()
        await request.closed.wait()
        await asyncio.sleep(chain.budget.total_s)  # the voice is slower than the model may be
        stage.tts.go.set()
    assert stage.done.status == "completed"
    assert len(stage.texts) == 40


async def test_a_sentence_without_end_is_cut_off(chain: Chain) -> None:
    chain.servers[0].script, chain.servers[0].token_s = "repeat", 0.001
    stage = Stage()
    assert (await failed_turn(chain, stage)).code == "repeating"
    assert len(stage.texts) <= 5
    assert stage.texts[-1] == BROKEN_OFF


async def test_no_done_after_the_finish_is_no_fault(chain: Chain) -> None:
    chain.servers[0].script = "no-done"
    stage = Stage()
    assert await clean_turn(chain, stage) == "completed"
    assert len(stage.texts) == 20


async def test_a_late_answer_is_covered_by_one_filler(chain: Chain) -> None:
    chain.servers[0].script = "say;ttft=0.3"
    stage = Stage(real_chat=chain.chat(), pace=Pace(filler_s=0.1))
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert stage.texts[:2] == ["One moment, please.", "This is sentence number 0."]
    assert stage.done.metrics.llm_first_token_ms is not None
    assert stage.done.metrics.llm_first_token_ms >= 300


async def test_blanks_are_silence_to_the_user_and_are_covered_like_it(chain: Chain) -> None:
    chain.budget = HASTY
    chain.servers[0].script = "blanks@0"
    stage = Stage(real_chat=chain.chat(), pace=Pace(filler_s=0.1))
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    assert stage.texts == ["One moment, please.", SLOW]


@pytest.fixture
async def relay(chain: Chain) -> AsyncIterator[Relay]:
    server = chain.servers[0]
    server.token_s = 0.02
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(server.base_url))
        server.base_url = relay.base_url
        yield relay


async def cut_in_mid_reply(chain: Chain, relay: Relay, cut_s: float) -> Stage:
    stage = Stage(real_chat=chain.chat())
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.reply.wait_for(ReplyText)
        relay.cut()
        asyncio.get_running_loop().call_later(cut_s, relay.mend)
    return stage


async def test_a_cut_of_the_network_that_is_shorter_than_the_patience_is_not_heard(
    chain: Chain, relay: Relay
) -> None:
    stage = await cut_in_mid_reply(chain, relay, 0.3)
    assert stage.done.status == "completed"
    assert len(stage.texts) == 20


async def test_a_cut_of_the_network_that_is_longer_ends_the_reply_with_a_line(
    chain: Chain, relay: Relay, stalls: Stalls
) -> None:
    chain.budget = replace(PATIENT, between_tokens_s=0.5)
    started = time.monotonic()
    stage = await cut_in_mid_reply(chain, relay, 5)
    assert stalls.seconds(started, time.monotonic()) < 2
    assert stage.done.status == "failed"
    assert stage.texts[-1] == BROKEN_OFF
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "timeout_inter_token"


async def test_with_the_deadlines_as_they_come_a_cut_of_5_s_is_heard_and_the_next_turn_is_whole(
    chain: Chain, relay: Relay, stalls: Stalls
) -> None:
    chain.budget = Budget()
    cut_at = time.monotonic()
    stage = await cut_in_mid_reply(chain, relay, 5)
    assert stalls.seconds(cut_at, time.monotonic()) < 5
    assert stage.done.status == "failed"
    assert stage.texts[-1] == BROKEN_OFF
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "timeout_inter_token"
    await asyncio.sleep(cut_at + 5.5 - time.monotonic())
    after = Stage()
    assert await clean_turn(chain, after) == "completed"
    assert len(after.texts) == 20
