"""A reply of which more comes than the gateway keeps is heard whole all the same."""

import pytest
from redis.asyncio import Redis

from schemas.session_events import AgentTranscript
from tests.fakes.scripted_turn_worker import Script, ScriptedTurnWorker, packet_of
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]


async def test_a_reply_of_which_more_comes_than_is_queued_is_heard_whole(
    gateway: Gateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateway.session.playout.MAX_QUEUED", 40)
    monkeypatch.setattr("workers.gateway.session.playout.FULL", 25)
    agent = gateway.agents.add()
    sentences = tuple(f"This is sentence {number}." for number in range(8))
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(sentences=sentences)) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics", wait_s=15)
        expected = [packet_of(sentence, index) for sentence in range(8) for index in range(10)]
        assert [packet for _, packet in client.packets] == expected
        assert client.of(AgentTranscript)[0].text == " ".join(sentences)
        assert len(worker.tasks) == 1
