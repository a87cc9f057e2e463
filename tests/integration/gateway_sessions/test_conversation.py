"""Whole turns over real WebRTC, with a scripted worker on the real Redis."""

import structlog
from redis.asyncio import Redis
from structlog.contextvars import merge_contextvars

from schemas.chat import FailedTry
from schemas.session_events import AgentTranscript, ReplyDone, ReplyMetrics, UserTranscript
from schemas.turn import End, Pause, TurnMetrics, UserAudio
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker, packet_of, place_of
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]


async def test_a_turn_goes_from_the_gate_to_the_last_packet_in_the_order_of_the_contract(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        assert _without_repeats(client.types) == [
            "session.ready",
            "input.speech.started",
            "transcript.user.delta",
            "input.speech.stopped",
            "transcript.user",
            "reply.started",
            "transcript.agent.delta",
            "transcript.agent",
            "reply.done",
            "reply.metrics",
        ]
        assert client.of(UserTranscript)[0].text == "what time is it"
        assert client.of(AgentTranscript)[0].text == "It is noon. Anything else?"
        assert client.of(AgentTranscript)[0].interrupted is False
        assert client.of(ReplyDone)[0].status == "completed"
        metrics = client.of(ReplyMetrics)[0]
        assert metrics.model == "scripted"
        assert metrics.attempts == 1
        assert 300 <= (metrics.endpoint_ms or 0) < 2_000
        for measured in (metrics.endpoint_ms, metrics.endpoint_to_audio_ms):
            assert measured == round(measured or 0, 1), "in tenths of a millisecond"
        assert [packet for _, packet in client.packets] == [
            packet_of(sentence, index) for sentence in range(2) for index in range(10)
        ]
        inputs = worker.inputs[worker.tasks[0].turn_id]
        assert [p for entry in inputs if isinstance(entry, UserAudio) for p in entry.packets] == (
            SPEECH
        )
        assert [type(entry) for entry in inputs if not isinstance(entry, UserAudio)] == [Pause, End]
        history = await gateway.exchanges(client.session_path)
        assert [(one.user, one.agent, one.interrupted) for one in history] == [
            ("what time is it", "It is noon. Anything else?", False)
        ]
        assert place_of(client.packets[-1][1]) == (1, 9)


async def test_the_metrics_name_who_answered_and_every_try(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    failed = FailedTry(entry=0, model="own", code="http_5xx", status_code=503, after_ms=12.5)
    answered = TurnMetrics(model="other", entry=1, tries=3, failures=(failed, failed))
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(metrics=answered)),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        metrics = client.of(ReplyMetrics)[0]
    assert (metrics.model, metrics.entry, metrics.attempts) == ("other", 1, 3)
    assert metrics.failures == (failed, failed)


def _without_repeats(types: list[str]) -> list[str]:
    return [one for index, one in enumerate(types) if index == 0 or types[index - 1] != one]


async def test_what_is_logged_of_a_turn_names_its_session_and_itself(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as lines:
        async with (
            ScriptedTurnWorker.running(redis) as worker,
            Client.calling(gateway.http, agent.id) as client,
        ):
            await client.say(SPEECH)
            await client.heard("reply.metrics")
            await gateway.http.delete(client.session_path)
    session_id = client.session_path.rpartition("/")[2]
    (over,) = [line for line in lines if line["event"] == "turn over"]
    assert over["session_id"] == session_id
    assert over["turn_id"] == worker.tasks[0].turn_id
    (ended,) = [line for line in lines if line["event"] == "session ended"]
    assert (ended["session_id"], ended["reason"]) == (session_id, "deleted")
