"""A reply that fails is told of, once, as an event and aloud."""

import pytest
from redis.asyncio import Redis

from schemas.apology import BUILT_IN
from schemas.session_events import AgentTranscript, ReplyDone, ReplyError
from schemas.turn import TurnError, TurnTask
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]


async def test_an_error_of_the_model_is_an_event_before_its_spoken_line(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    error = TurnError(attempt=1, code="http_5xx", message="the model failed", retryable=True)
    line = "Sorry, I could not reach the language model."
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(error=error, sentences=(line,))),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        order = ["reply.started", "reply.error", "transcript.agent.delta", "transcript.agent"]
        assert [one for one in client.types if one in order] == order
        assert client.of(ReplyDone)[0].status == "failed"
        assert len(client.packets) == 10


async def test_a_failure_that_the_worker_cannot_say_aloud_is_said_here(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    error = TurnError(attempt=1, code="unavailable", message="no agent found", retryable=False)
    script = Script(error=error, sentences=())
    async with (
        ScriptedTurnWorker.running(redis, lambda _: script),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics", wait_s=15)
        assert client.of(ReplyError)[0].code == "unavailable"
        assert client.of(AgentTranscript)[0].text == BUILT_IN.text
        assert client.packets


async def test_a_reply_that_breaks_off_without_a_word_about_it_ends_with_a_line_from_here(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    error = TurnError(attempt=1, code="tts_failed", message="no voice", retryable=True)
    script = Script(error=error, sentences=("Let me look that up.",), before_error=1)
    async with (
        ScriptedTurnWorker.running(redis, lambda _: script),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics", wait_s=15)
        assert client.of(AgentTranscript)[0].text == f"Let me look that up. {BUILT_IN.text}"
        assert client.of(ReplyDone)[0].status == "failed"
        assert [event.code for event in client.of(ReplyError)] == ["tts_failed"]
        history = await gateway.exchanges(client.session_path)
        assert [one.agent for one in history] == ["Let me look that up."]


async def test_a_worker_that_has_apologised_is_not_followed_by_a_second_apology(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    error = TurnError(attempt=1, code="disconnected", message="broke off", retryable=True)
    sentences = ("It is noon.", "Sorry, the rest of my answer was lost.")
    script = Script(error=error, sentences=sentences, before_error=1)
    async with (
        ScriptedTurnWorker.running(redis, lambda _: script),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        assert client.of(AgentTranscript)[0].text == " ".join(sentences)
        assert client.of(ReplyDone)[0].status == "failed"


async def test_workers_that_die_after_an_apology_are_not_apologised_for_again(
    gateway: Gateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateway.session.supervisor.LAST_START_S", 1.5)
    agent = gateway.agents.add()
    error = TurnError(attempt=1, code="disconnected", message="broke off", retryable=True)
    line = "Sorry, I could not reach the language model."

    def script(task: TurnTask) -> Script:
        if task.attempt == 1:
            return Script(error=error, sentences=(line,), dies_at="before_done")
        return Script(dies_at="start")

    async with (
        ScriptedTurnWorker.running(redis, script),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.done", wait_s=25)
        assert client.of(AgentTranscript)[0].text == line
