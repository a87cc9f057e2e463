"""An agent with a line of its own is heard to say that one when its workers are gone."""

from collections.abc import Callable

import pytest
import structlog
from redis.asyncio import Redis

from schemas.agent import Agent, Lines
from schemas.apology import BUILT_IN, Apology, apology_key, wording_of
from schemas.session_events import AgentTranscript, AgentTranscriptDelta, ReplyDone, ReplyError
from schemas.turn import TurnError, TurnTask
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker, packet_of
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway
from workers.gateway.session.apology import built_in
from workers.storage.agents.apologies import Apologies

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
LINE = "Das hat leider nicht geklappt."
PACKETS = [packet_of(99, index) for index in range(15)]
REFUSED = TurnError(attempt=1, code="unavailable", message="no agent found", retryable=False)


def spoken_by(agent: Agent) -> Apology:
    return Apology(wording=wording_of(agent), packets=tuple(PACKETS))


def from_the_second_turn(worst: Script) -> Callable[[TurnTask], Script]:
    """Let the first turn go well and every other one as badly as this."""
    first: list[str] = []

    def script(task: TurnTask) -> Script:
        first.append(task.turn_id)
        return Script() if task.turn_id == first[0] else worst

    return script


async def test_a_worker_that_is_killed_in_the_second_turn_is_excused_in_the_agents_own_words(
    gateway: Gateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateway.session.supervisor.LAST_START_S", 1.5)
    agent = gateway.agents.add(lines=Lines(failed=LINE))
    script = from_the_second_turn(Script(dies_at="start"))
    async with (
        ScriptedTurnWorker.running(redis, script),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        # The worker makes it when the turn is done, while the reply still plays.
        await Apologies(redis).keep(agent.id, spoken_by(agent))
        await client.heard("reply.metrics")
        await client.until(lambda: gateway.sessions.busy == 0)
        heard = len(client.packets)
        await client.say(SPEECH)
        # What fails may be Redis as well: it was read ahead.
        await redis.delete(apology_key(agent.id))
        await client.heard("reply.done", 2, wait_s=25)
        assert client.of(ReplyError)[0].code == "turn_worker_lost"
        assert client.of(AgentTranscript)[1].text == LINE
        assert client.of(AgentTranscriptDelta)[-1].delta == LINE
        assert [packet for _, packet in client.packets[heard:]] == PACKETS
        assert [done.status for done in client.of(ReplyDone)] == ["completed", "failed"]


async def test_the_first_turn_of_a_session_has_what_an_earlier_session_left(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(lines=Lines(failed=LINE))
    await Apologies(redis).keep(agent.id, spoken_by(agent))
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(error=REFUSED, sentences=())),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.done")
        assert client.of(AgentTranscript)[0].text == LINE
        assert [packet for _, packet in client.packets] == PACKETS


async def test_without_a_usable_one_the_built_in_line_is_said(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add(lines=Lines(failed=LINE))
    await redis.hset(apology_key(agent.id), mapping={"body": "{}", "data": b"\x00"})
    with structlog.testing.capture_logs() as lines:
        async with (
            ScriptedTurnWorker.running(redis, lambda _: Script(error=REFUSED, sentences=())),
            Client.calling(gateway.http, agent.id) as client,
        ):
            await client.say(SPEECH)
            await client.heard("reply.done")
            assert client.of(AgentTranscript)[0].text == BUILT_IN.text
            assert [packet for _, packet in client.packets] == list(built_in().packets)
    assert "apology of the agent not read" in [line["event"] for line in lines]
