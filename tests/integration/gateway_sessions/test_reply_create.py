"""The client lets the agent speak, and adds to the conversation what nobody said aloud."""

import json

import pytest
from redis.asyncio import Redis

from schemas.session_events import (
    MAX_TEXT,
    AgentTranscript,
    ConversationMessage,
    GateClosed,
    GateOpened,
    ReplyCreate,
    ReplyDone,
    SessionError,
)
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway
from workers.storage.sessions.conversation import Added, Exchange

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
SHORT = Script(sentences=("The timer is up.",), packets=10)
LONG = Script(sentences=("One two three four five six seven eight nine ten.",), packets=80)
TOO_LONG = ("planted" * MAX_TEXT)[: MAX_TEXT + 1]
PAGE = ConversationMessage(role="user", content="I look at page 3.")


def by_turn(worker: ScriptedTurnWorker, *scripts: Script) -> Script:
    return scripts[min(len(worker.tasks), len(scripts)) - 1]


async def conversation(gateway: Gateway, client: Client) -> list[tuple[str, str]]:
    entries = await gateway.history.read(client.session_path.rpartition("/")[2])
    told: list[tuple[str, str]] = []
    for entry in entries:
        if isinstance(entry, Added):
            told.append((entry.role, entry.content))
        else:
            assert isinstance(entry, Exchange)
            told.append((entry.user, entry.agent))
    return told


async def test_the_agent_speaks_when_it_is_asked_to_and_knows_what_was_added(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: SHORT) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        client.send(PAGE)
        client.send(ConversationMessage(role="system", content="It is evening."))
        client.send(ReplyCreate(instructions="Say that the timer is up."))
        await client.heard("reply.metrics")
        assert [task.kind for task in worker.tasks] == ["reply"]
        assert worker.instructions == ["Say that the timer is up."]
        known = [Added(role=PAGE.role, content=PAGE.content)]
        known.append(Added(role="system", content="It is evening."))
        assert worker.histories[worker.tasks[0].turn_id] == tuple(known)
        assert client.of(AgentTranscript)[0].text == "The timer is up."
        assert "input.speech.started" not in client.types
        assert await conversation(gateway, client) == [
            ("user", PAGE.content),
            ("system", "It is evening."),
            ("", "The timer is up."),
        ]


async def test_a_reply_asked_for_while_another_plays_follows_it_and_a_third_is_refused(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: by_turn(worker, LONG, SHORT)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        client.send(ReplyCreate())
        client.send(PAGE)
        client.send(ReplyCreate(instructions="Again."))
        await client.heard("session.error")
        assert client.of(SessionError)[0].code == "concurrency_exceeded"
        await client.heard("reply.metrics", 2)
        assert [event.status for event in client.of(ReplyDone)] == ["completed", "completed"]
        assert worker.instructions == [None]
        assert len(client.packets) == 90
        await client.until(lambda: gateway.sessions.busy == 0)
        assert await conversation(gateway, client) == [
            ("what time is it", LONG.sentences[0]),
            ("", "The timer is up."),
            ("user", PAGE.content),
        ]


async def test_speech_drops_a_reply_that_waits_and_the_client_hears_of_it(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: by_turn(worker, LONG, SHORT)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        client.send(ReplyCreate())
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        assert [event.status for event in client.of(ReplyDone)] == [
            "interrupted",
            "interrupted",
            "completed",
        ]
        assert [task.kind for task in worker.tasks] == ["utterance", "utterance"]


async def test_while_the_user_speaks_a_reply_waits_and_a_message_counts_for_the_answer(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        client.send(GateOpened())
        client.send_packets(SPEECH)
        await client.heard("input.speech.started")
        client.send(ReplyCreate(instructions="Offer help."))
        client.send(PAGE)
        client.send(GateClosed(silence_ms=100))
        client.send(GateOpened())  # a breath: it must not drop the reply that waits
        client.send_packets(SPEECH)
        client.send(GateClosed(silence_ms=100))
        await client.heard("reply.metrics", 2)
        assert [task.kind for task in worker.tasks] == ["utterance", "reply"]
        assert worker.instructions == ["Offer help."]
        added = Added(role=PAGE.role, content=PAGE.content)
        assert worker.histories[worker.tasks[0].turn_id] == (added,)
        assert [type(one) for one in worker.histories[worker.tasks[1].turn_id]] == [Added, Exchange]


BAD = {
    "a role that there is not": '{"type":"conversation.message","role":"tool","content":"x"}',
    "no content": '{"type":"conversation.message","role":"user"}',
    "blank": '{"type":"conversation.message","role":"user","content":" \\n"}',
    "a list": '{"type":"conversation.message","role":"user","content":[{"type":"text"}]}',
    "too long": json.dumps({**PAGE.model_dump(), "content": TOO_LONG}),
    "instructions too long": json.dumps({"type": "reply.create", "instructions": TOO_LONG}),
    "instructions of another kind": '{"type":"reply.create","instructions":7}',
    "an unknown field": '{"type":"reply.create","model":"other"}',
    "half an event": '{"type":"reply.create"',
}


async def test_events_that_are_wrong_are_answered_and_survived(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: SHORT) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        assert client.channel is not None
        for number, text in enumerate(BAD.values(), start=1):
            client.channel.send(text)
            await client.heard("session.error", number)
        assert {event.code for event in client.of(SessionError)} == {"invalid_format"}
        assert not [e for e in client.of(SessionError) if "planted" in e.message]
        client.send(ReplyCreate())
        await client.heard("reply.metrics")
        assert len(worker.tasks) == 1
        assert await conversation(gateway, client) == [("", "The timer is up.")]


@pytest.mark.parametrize("asks", [True, False])
async def test_a_client_that_floods_is_bounded_and_answered(
    gateway: Gateway, redis: Redis, *, asks: bool
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: by_turn(worker, LONG, SHORT)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        for _ in range(60):
            client.send(ReplyCreate() if asks else PAGE)
        await client.heard("session.error", 59 if asks else 28)
        assert {event.code for event in client.of(SessionError)} == {"concurrency_exceeded"}
        await client.until(lambda: gateway.sessions.busy == 0)
        await client.say(SPEECH)
        await client.heard("reply.metrics", 3 if asks else 2)
        added = [one for one in worker.histories[worker.tasks[-1].turn_id] if one.type == "added"]
        assert len(added) == (0 if asks else 32)
