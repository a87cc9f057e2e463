"""Tools of the client: asked for on the data channel of a real WebRTC peer, answered there."""

import asyncio

from redis.asyncio import Redis

from schemas.session_events import SessionError, ToolCall, ToolResultEvent
from schemas.turn import ToolAsked, ToolResult, TurnTask
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway
from workers.gateway.session.client_calls import MAX_RESULT

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]


def asked(call_id: str, timeout_s: float = 5.0, **arguments: object) -> ToolAsked:
    return ToolAsked(
        attempt=1, call_id=call_id, name="lights", arguments=arguments, timeout_s=timeout_s
    )


def script(*calls: ToolAsked) -> Script:
    return Script(tools=calls)


async def test_the_client_is_asked_once_and_its_answer_reaches_the_worker(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()

    def twice(task: TurnTask) -> Script:
        calls = (asked("call_1", room="hall"), asked("call_1", room="hall"), asked("call_2"))
        return script(*(call.model_copy(update={"attempt": task.attempt}) for call in calls))

    async with (
        ScriptedTurnWorker.running(redis, twice) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.until(lambda: len(client.of(ToolCall)) == 2)
        first, second = client.of(ToolCall)
        assert (first.name, first.arguments) == ("lights", {"room": "hall"})
        client.send(ToolResultEvent(call_id=first.call_id, result='{"on": true}'))
        client.send(ToolResultEvent(call_id=second.call_id, result="broken", is_error=True))
        await client.heard("reply.done")
        assert len(client.of(ToolCall)) == 2
        assert worker.results == [
            ToolResult(call_id="call_1", result='{"on": true}', is_error=False),
            ToolResult(call_id="call_2", result="broken", is_error=True),
        ]


async def test_results_that_nobody_waits_for_are_refused_and_the_session_lives_on(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    calls = (asked("call_1"), asked("call_2"), asked("call_3", timeout_s=0.05))
    async with (
        ScriptedTurnWorker.running(redis, lambda _: script(*calls)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        client.send(ToolResultEvent(call_id="call_1", result="too early"))
        await client.until(lambda: len(client.of(SessionError)) == 1)
        await client.say(SPEECH)
        await client.until(lambda: len(client.of(ToolCall)) == 3)
        client.send(ToolResultEvent(call_id="call_1", result="one"))
        client.send(ToolResultEvent(call_id="call_1", result="again"))
        client.send(ToolResultEvent(call_id="call_2", result="x" * (MAX_RESULT + 1)))
        await asyncio.sleep(0.1)  # the third call's time runs out
        client.send(ToolResultEvent(call_id="call_3", result="late"))
        await client.heard("reply.done")
        assert [(error.code, error.param) for error in client.of(SessionError)] == [
            ("invalid_value", "call_id"),
            ("invalid_value", "call_id"),
            ("invalid_value", "result"),
        ]
        assert [(one.call_id, one.is_error) for one in worker.results] == [
            ("call_1", False),
            ("call_2", True),
        ]
        assert worker.results[0].result == "one"


async def test_a_client_without_a_channel_does_not_keep_the_model_waiting(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(greeting="Hello.")
    async with (
        ScriptedTurnWorker.running(redis, lambda _: script(asked("call_1"))) as worker,
        Client.calling(gateway.http, agent.id, channel=False) as client,
    ):
        await client.until(lambda: len(worker.results) == 1)
        assert worker.results[0].is_error
        assert "no event channel" in worker.results[0].result
        await client.until(lambda: len(client.packets) > 0)
