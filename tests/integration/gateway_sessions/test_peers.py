"""Peers of every kind: a browser without a channel, one that dies, one that sends poison."""

import asyncio
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from edge.media.opus import OpusEncoder
from schemas.session_events import GateClosed, GateOpened, ReplyDone, SessionEnd
from schemas.turn import UserAudio
from tests.fakes.scripted_turn_worker import ScriptedTurnWorker, packet_of
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
RECORDING = Path("/usr/share/pocketsphinx/test/data/goforward.raw")
QUIET = np.zeros(16_000, np.int16)
WHOLE = [packet_of(sentence, index) for sentence in range(2) for index in range(10)]


def _recorded_packets() -> list[bytes]:
    spoken = np.fromfile(RECORDING, dtype="<i2")
    return OpusEncoder().encode(np.concatenate((QUIET, spoken, QUIET)))


@pytest.mark.parametrize("channel", [False, True], ids=["no channel", "a silent channel"])
async def test_a_peer_that_does_not_gate_itself_is_gated_here(
    gateway: Gateway, redis: Redis, *, channel: bool
) -> None:
    agent = gateway.agents.add()
    packets = _recorded_packets()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id, channel=channel, gates_itself=False) as client,
    ):
        await client.stream(packets)
        await client.until(lambda: len(client.packets) == 20)
        assert [packet for _, packet in client.packets] == WHOLE
        assert len(worker.tasks) == 1
        inputs = worker.inputs[worker.tasks[0].turn_id]
        heard = [p for entry in inputs if isinstance(entry, UserAudio) for p in entry.packets]
        # The original packets, in one run, without the silence around them.
        start = packets.index(heard[0])
        assert packets[start : start + len(heard)] == heard
        assert 30 < start < 90
        assert 60 < len(heard) < len(packets) - 60
        if channel:
            await client.heard("reply.done")


async def test_a_peer_that_stops_sending_in_mid_word_is_taken_to_be_silent(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis),
        Client.calling(gateway.http, agent.id, gates_itself=False) as client,
    ):
        await client.stream(_recorded_packets()[:120])
        await client.heard("reply.done")
        assert client.of(ReplyDone)[0].status == "completed"


async def test_a_device_that_falls_silent_is_let_go_after_five_seconds(
    gateway: Gateway,
) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id, keep_alive=False) as client:
        await client.until(lambda: len(gateway.sessions) == 1)
        _stop_talking(client)
        began = asyncio.get_running_loop().time()
        await client.until(lambda: len(gateway.sessions) == 0, 9.0)
        assert 3.0 <= asyncio.get_running_loop().time() - began <= 7.0


def _is_closed(client: Client) -> bool:
    return client.pc.connectionState == "closed"


def _stop_talking(client: Client) -> None:
    """Cut the line: nothing leaves the client any more, not even a farewell."""

    async def into_the_void(data: bytes) -> None:  # noqa: ARG001  # aiortc's name
        return None

    for sender in client.pc.getSenders():
        sender.transport.transport._send = into_the_void
        sender.transport._send_rtp = into_the_void  # type: ignore[method-assign]  # cut here


async def test_a_device_that_lives_stays_although_it_is_silent(
    gateway: Gateway,
) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        await asyncio.sleep(6)
        assert len(gateway.sessions) == 1
        assert gateway.sessions.busy == 0
        assert client.packets == []


async def test_a_client_that_hangs_up_is_forgotten_at_once(gateway: Gateway) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        await client.pc.close()
        await client.until(lambda: len(gateway.sessions) == 0, 2.0)


async def test_a_client_may_say_goodbye(gateway: Gateway) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        client.send(SessionEnd())
        await client.heard("session.ended")
        await client.until(lambda: len(gateway.sessions) == 0, 2.0)


async def test_delete_ends_the_session_and_the_turn_that_runs(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        client.send(GateOpened())
        client.send_packets(SPEECH)
        await client.until(lambda: len(worker.tasks) == 1)
        answer = await gateway.http.delete(client.session_path)
        assert answer.status_code == 204
        assert answer.content == b""
        assert len(gateway.sessions) == 0
        await client.until(
            lambda: client.types[-1] == "session.ended" or client.pc.connectionState == "closed"
        )
        removed = await gateway.http.delete(client.session_path)
        assert removed.status_code == 204  # its history
        again = await gateway.http.delete(client.session_path)
        assert again.status_code == 404
        assert again.json()["code"] == "session_not_found"


async def test_poison_packets_change_nothing(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id, gates_itself=False) as client,
    ):
        track, noise = client.track, random.Random(7)  # the same poison every time
        for payload in [b"\xff" * 1275, noise.randbytes(200), b"\x00", *[noise.randbytes(60)] * 10]:
            track.send(payload, client._sent * 960)
            client._sent += 1
        await client.stream(_recorded_packets())
        await client.heard("reply.done")
        assert [packet for _, packet in client.packets] == WHOLE
        assert len(worker.tasks) == 1


async def test_a_broken_event_is_answered_and_survived(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis),
        Client.calling(gateway.http, agent.id) as client,
    ):
        assert client.channel is not None
        texts = ["", "{", "[]", '{"type":"nonsense"}', '{"type":"input.gate.closed"}']
        for text in texts:
            client.channel.send(text)
        client.channel.send(b"\xff")
        await client.heard("session.error", 6)
        await client.say(SPEECH)
        await client.heard("reply.done")


async def test_a_gate_that_closes_without_having_opened_starts_no_turn(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        for _ in range(5):
            client.send(GateClosed(silence_ms=100))
        await client.say(SPEECH)
        await client.heard("reply.done")
        assert len(worker.tasks) == 1


async def test_shutting_the_gateway_down_ends_every_session(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add(greeting="Hello there.")
    async with (
        ScriptedTurnWorker.running(redis),
        Client.calling(gateway.http, agent.id) as one,
        Client.calling(gateway.http, agent.id) as other,
    ):
        await one.heard("reply.started")
        await gateway.sessions.close()
        assert len(gateway.sessions) == 0
        for client in (one, other):
            await client.until(partial(_is_closed, client))
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not [name for name in names if name.startswith(("session", "turn", "converse"))]
