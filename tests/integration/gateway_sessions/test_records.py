"""What a gateway has kept of its sessions: each turn as it was heard, and why it ended."""

from redis.asyncio import Redis

from schemas.session_events import (
    AgentTranscript,
    ConversationMessage,
    GateOpened,
    ReplyCreate,
    ReplyMetrics,
    SessionEnd,
)
from schemas.session_history import Failure, MessageEntry, SentRequest, TurnEntry
from schemas.turn import TurnError
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker, asked
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
LONG = Script(sentences=("One two three four five six seven eight nine ten.",), packets=200)
BROKEN = TurnError(attempt=1, code="http_5xx", message="m", retryable=True, status_code=502)


def sent(attempt: int = 1) -> tuple[SentRequest, ...]:
    return (SentRequest(**asked(attempt).model_dump(exclude={"type"})),)


async def kept(gateway: Gateway, client: Client) -> list[TurnEntry | MessageEntry]:
    client.send(SessionEnd())
    session_id = client.session_path.rpartition("/")[2]
    await client.until(lambda: session_id in gateway.records.reasons)
    assert gateway.records.reasons[session_id] == "client"
    return gateway.records.entries[session_id]


async def test_the_time_line_has_every_turn_with_what_was_sent_and_heard(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(greeting="Hello there.")
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.heard("reply.metrics")
        await client.say(SPEECH)
        await client.heard("reply.metrics", 2)
        client.send(ConversationMessage(role="user", content="I look at page 3."))
        client.send(ReplyCreate(instructions="Help."))
        await client.heard("reply.metrics", 3)
        greeting, turn, added, reply = await kept(gateway, client)
        metrics = client.of(ReplyMetrics)[1]
    assert gateway.records.sessions == [
        (client.session_path.rpartition("/")[2], "default", agent.id)
    ]
    assert isinstance(greeting, TurnEntry)
    assert (greeting.kind, greeting.user, greeting.sent) == ("greeting", "", ())
    assert isinstance(turn, TurnEntry)
    assert (turn.kind, turn.id) == ("utterance", worker.tasks[1].turn_id)
    assert (turn.user, turn.reply) == ("what time is it", "It is noon. Anything else?")
    assert (turn.status, turn.interrupted, turn.attempts) == ("completed", False, 1)
    assert turn.sent == sent()
    assert turn.model == "scripted"
    assert turn.metrics == metrics.model_dump(
        mode="json", exclude={"type", "timestamp", "reply_id"}
    )
    assert isinstance(added, MessageEntry)
    assert (added.role, added.content) == ("user", "I look at page 3.")
    assert isinstance(reply, TurnEntry)
    assert (reply.kind, reply.user, reply.sent) == ("reply", "", sent())
    assert greeting.at < turn.at < turn.ended_at <= reply.at


async def test_a_reply_that_was_cut_short_is_kept_as_far_as_it_was_heard(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: LONG),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.until(lambda: len(client.packets) >= 60)
        client.send(GateOpened())
        await client.heard("reply.done")
        (turn,) = await kept(gateway, client)
    assert isinstance(turn, TurnEntry)
    assert (turn.status, turn.interrupted) == ("interrupted", True)
    assert turn.reply == client.of(AgentTranscript)[0].text
    assert 0 < len(turn.reply) < len(LONG.sentences[0]) / 2
    assert turn.sent == sent()
    assert (turn.model, turn.entry, turn.attempts) == ("scripted", 1, 2)
    assert turn.metrics["queue_ms"] == 1.0


async def test_a_failure_is_kept_and_so_is_each_attempt(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    script = {1: Script(dies_at="mid_audio"), 2: Script(error=BROKEN, sentences=("Sorry.",))}
    async with (
        ScriptedTurnWorker.running(redis, lambda task: script[task.attempt]),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        (turn,) = await kept(gateway, client)
    assert isinstance(turn, TurnEntry)
    assert (turn.status, turn.attempts) == ("failed", 2)
    assert turn.errors == (Failure(code="http_5xx", message="m", retryable=True, status_code=502),)
    assert turn.sent == (*sent(1), *sent(2))


async def test_noise_is_no_turn_and_a_refused_offer_no_session(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    refused = await gateway.http.post(
        f"/v1/agents/{agent.id}/sessions",
        content="v=0",
        headers={"Content-Type": "application/sdp"},
    )
    assert refused.status_code in (400, 422)
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(is_noise=True)),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("transcript.user")
        await client.until(lambda: gateway.sessions.busy == 0)
        assert await kept(gateway, client) == []
    assert len(gateway.records.sessions) == 1
