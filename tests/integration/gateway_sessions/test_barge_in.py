"""The user talks over the agent: silence at once, and a history of what was heard."""

import asyncio
import time

from redis.asyncio import Redis

from schemas.session_events import AgentTranscript, GateClosed, GateOpened, ReplyCancel, ReplyDone
from schemas.turn import Cancel, TurnInput, TurnTask
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker, place_of
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway
from workers.storage.turns.streams import TurnStreams

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
LONG = Script(sentences=("One two three four five six seven eight nine ten.",), packets=200)


async def test_speech_over_a_reply_silences_it_and_is_answered(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda task: _long_then_short(worker, task)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.until(lambda: len(client.packets) >= 60)
        client.send(GateOpened())
        spoke = time.monotonic()
        await client.heard("reply.done")
        assert client.event_times[client.types.index("reply.done")] - spoke < 0.2
        client.send_packets(SPEECH)
        client.send(GateClosed(silence_ms=200))
        await client.heard("reply.done", 2)
        assert [event.status for event in client.of(ReplyDone)] == ["interrupted", "completed"]
        cut = client.of(AgentTranscript)[0]
        assert cut.interrupted is True
        assert "One two three".startswith(cut.text)
        assert cut.text
        old = [time_ for time_, packet in client.packets if place_of(packet)[1] < 200]
        assert len([one for one in old if one > spoke + 0.3]) == 20
        assert client.types.index("reply.done") < _second(client.types, "input.speech.started")
        history = await gateway.exchanges(client.session_path)
        assert [(one.agent, one.interrupted) for one in history] == [
            (cut.text, True),
            ("It is noon. Anything else?", False),
        ]
        # The worker of the second turn read a history that already held the first.
        assert len(worker.histories[worker.tasks[1].turn_id]) == 1
        assert await _last_input(redis, worker.tasks[0].turn_id) == Cancel(reason="barge_in")


def _long_then_short(worker: ScriptedTurnWorker, task: TurnTask) -> Script:
    return LONG if task.turn_id == worker.tasks[0].turn_id else Script()


def _second(types: list[str], one: str) -> int:
    return types.index(one, types.index(one) + 1)


async def _last_input(redis: Redis, turn_id: str) -> TurnInput | None:
    last = None
    async for entry in TurnStreams(redis).read_input(turn_id, wait_ms=20):
        if entry is None:
            break
        last = entry
    return last


async def test_where_replies_may_not_be_interrupted_speech_is_answered_after_them(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(interrupt=False)
    long = Script(sentences=("One two three.",), packets=50)
    async with (
        ScriptedTurnWorker.running(
            redis, lambda task: long if task.turn_id == worker.tasks[0].turn_id else Script()
        ) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        await client.say(SPEECH)
        await client.heard("reply.done", 2)
        assert [event.status for event in client.of(ReplyDone)] == ["completed", "completed"]
        assert len(client.packets) == 70
        assert len(worker.histories[worker.tasks[1].turn_id]) == 1


async def test_a_cough_shorter_than_the_interruption_delay_stops_nothing(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(delay_ms=400)
    long = Script(sentences=("One two three.",), packets=60)
    async with (
        ScriptedTurnWorker.running(
            redis,
            lambda task: long if task.turn_id == worker.tasks[0].turn_id else Script(is_noise=True),
        ) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        await client.say(SPEECH[:3])
        await client.heard("reply.done")
        assert client.of(ReplyDone)[0].status == "completed"
        assert len(client.packets) == 60
        await client.until(lambda: gateway.sessions.busy == 0)


async def test_speech_longer_than_the_interruption_delay_stops_the_reply(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(delay_ms=400)
    async with (
        ScriptedTurnWorker.running(redis, lambda task: _long_then_short(worker, task)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        client.send(GateOpened())
        spoke = time.monotonic()
        await client.heard("reply.done")
        assert client.of(ReplyDone)[0].status == "interrupted"
        assert 0.38 <= client.event_times[client.types.index("reply.done")] - spoke < 0.8
        client.send_packets(SPEECH)
        client.send(GateClosed(silence_ms=200))
        await client.heard("reply.done", 2)


async def test_speech_before_the_reply_has_begun_supersedes_the_turn_without_a_reply(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    slow = Script(hold_back_s=3.0)
    async with (
        ScriptedTurnWorker.running(
            redis, lambda task: slow if task.turn_id == worker.tasks[0].turn_id else Script()
        ) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("transcript.user")
        await client.say(SPEECH)
        await client.heard("reply.done")
        assert client.types.count("reply.started") == 1
        history = await gateway.exchanges(client.session_path)
        assert [(one.user, one.agent) for one in history] == [
            ("what time is it", ""),
            ("what time is it", "It is noon. Anything else?"),
        ]


async def test_a_client_may_cancel_the_reply(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: LONG) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.until(lambda: len(client.packets) >= 10)
        client.send(ReplyCancel())
        await client.heard("reply.done")
        assert client.of(ReplyDone)[0].status == "interrupted"
        await client.until(lambda: gateway.sessions.busy == 0)
        turn = worker.tasks[0].turn_id
        assert await _last_input(redis, turn) == Cancel(reason="reply_cancelled")


async def test_the_greeting_is_spoken_first_and_stands_in_the_history(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(greeting="Hello there.")
    hello = Script(sentences=("Hello there.",))
    async with (
        ScriptedTurnWorker.running(redis, lambda _: hello) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.heard("reply.metrics")
        assert worker.tasks[0].kind == "greeting"
        assert len(client.packets) == 10
        history = await gateway.exchanges(client.session_path)
        assert [(one.user, one.agent) for one in history] == [("", "Hello there.")]


async def test_reply_packets_come_at_the_pace_of_speech(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(packets=50)),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.done")
        times = [arrived for arrived, _ in client.packets]
        assert len(times) == 100
        assert 1.8 <= times[-1] - times[0] <= 2.3
        done = client.event_times[client.types.index("reply.done")]
        assert 0.0 <= done - times[-1] <= 0.3
        await asyncio.sleep(0)
