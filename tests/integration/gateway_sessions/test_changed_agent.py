"""An agent that is changed while it talks: its turn detection counts from the next turn on."""

from pathlib import Path

import numpy as np
import structlog
from redis.asyncio import Redis

from edge.media.opus import OpusEncoder
from schemas.agent import TurnDetection
from schemas.session_events import ReplyCreate, ReplyDone, SessionUpdated, SpeechStopped
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
RECORDING = Path("/usr/share/pocketsphinx/test/data/goforward.raw")
QUIET = np.zeros(16_000, np.int16)


def _silences(client: Client) -> list[float]:
    return [stopped.silence_ms or 0.0 for stopped in client.of(SpeechStopped)]


async def test_another_min_silence_ends_the_next_turn_after_one_look_up(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        gateway.agents.change(agent, TurnDetection(min_silence=1_500))
        assert gateway.agents.looked_up == 2  # at the opening of the session, and for the turn
        await client.say(SPEECH)
        await client.heard("reply.metrics", 2)
        before, after = _silences(client)
        assert before < 1_500 <= after
        assert gateway.agents.looked_up == 3


async def test_a_reply_cannot_be_interrupted_once_the_agent_says_so(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    long = Script(sentences=("One two three.",), packets=60)
    async with (
        ScriptedTurnWorker.running(
            redis, lambda task: long if worker.tasks.index(task) == 1 else Script()
        ) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.done")
        gateway.agents.change(agent, TurnDetection(interrupt_response=False))
        await client.say(SPEECH)
        await client.heard("reply.started", 2)
        await client.say(SPEECH)
        await client.heard("reply.done", 3)
        assert {done.status for done in client.of(ReplyDone)} == {"completed"}
        assert len(client.packets) == 20 + 60 + 20
        (told,) = client.of(SessionUpdated)
        assert told.config["agent_id"] == agent.id
        assert told.config["input"]["turn_detection"]["interrupt_response"] is False


async def test_a_higher_threshold_counts_from_the_first_pause_of_the_next_turn(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id, gates_itself=False) as client,
    ):
        gateway.agents.change(agent, TurnDetection(vad_threshold=1.0))
        await client.stream(_recorded_packets())
        await client.heard("reply.done")
        await client.stream(_recorded_packets())
        assert client.types.count("input.speech.started") == 1
        assert len(worker.tasks) == 1


async def test_a_lower_threshold_is_taken_up_by_a_reply_that_was_asked_for(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    gateway.agents.change(agent, TurnDetection(vad_threshold=1.0))
    async with (
        ScriptedTurnWorker.running(redis),
        Client.calling(gateway.http, agent.id, gates_itself=False) as client,
    ):
        gateway.agents.change(agent, TurnDetection())
        await client.stream(_recorded_packets())
        assert "input.speech.started" not in client.types
        client.send(ReplyCreate())
        await client.heard("reply.done")
        await client.stream(_recorded_packets())
        await client.heard("input.speech.started")


def _recorded_packets() -> list[bytes]:
    spoken = np.fromfile(RECORDING, dtype="<i2")
    return OpusEncoder().encode(np.concatenate((QUIET, spoken, QUIET)))


async def test_an_agent_that_cannot_be_found_again_stays_as_it_was(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    gateway.agents.change(agent, TurnDetection(min_silence=900))
    with structlog.testing.capture_logs() as lines:
        async with (
            ScriptedTurnWorker.running(redis),
            Client.calling(gateway.http, agent.id) as client,
        ):
            gateway.agents.is_away = True
            await client.say(SPEECH)
            await client.heard("reply.done")
            gateway.agents.is_away = False
            gateway.agents.by_id.clear()
            await client.say(SPEECH)
            await client.heard("reply.done", 2)
            assert all(900 <= silence < 3_000 for silence in _silences(client))
    logged = [line for line in lines if line["event"] == "agent not looked up again"]
    assert [line["error"] for line in logged] == ["StorageUnavailableError"]
