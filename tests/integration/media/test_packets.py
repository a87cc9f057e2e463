"""Opus packets through two real aiortc peers, in good order and in bad."""

import asyncio

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from edge.media.opus import OpusDecoder, OpusEncoder
from edge.media.receive_buffer import ReceiveBuffer
from edge.media.rtp import PacketTrack, packets_received, packets_sent, send_keepalive
from schemas.audio import CHUNK_SAMPLES, PACKET_TICKS
from tests.integration.media.pairs import Pair, Peer, connected_pair, play, until


def speech(seconds: float) -> list[bytes]:
    time = np.arange(int(16_000 * seconds)) / 16_000
    wave = np.sin(2 * np.pi * (220 + 40 * np.sin(time)) * time) * 8000
    return OpusEncoder().encode(wave.astype(np.int16))


async def test_packets_arrive_byte_for_byte_in_both_directions_at_once() -> None:
    there, back = speech(4), speech(4)[::-1]
    async with connected_pair() as pair:
        async with asyncio.TaskGroup() as group:
            group.create_task(play(pair.device, there), name="there")
            group.create_task(play(pair.gateway, back), name="back")
        await until(lambda: len(pair.gateway.arrived) == len(there))
        await until(lambda: len(pair.device.arrived) == len(back))

        assert pair.gateway.payloads == there
        assert pair.device.payloads == back


async def test_timestamps_keep_the_gaps_that_the_gate_left() -> None:
    ticks = [0, 960, 1920, 480_000, 480_960, 50_000_000, 5_000_000_000]
    async with connected_pair() as pair:
        for tick in ticks:
            pair.device.track.send(b"\x48x", tick)
        await until(lambda: len(pair.gateway.arrived) == len(ticks))
        arrived = pair.gateway.arrived

        first_sequence, first_timestamp, _ = arrived[0]
        assert [(sequence - first_sequence) % 2**16 for sequence, _, _ in arrived] == list(range(7))
        assert [(timestamp - first_timestamp) % 2**32 for _, timestamp, _ in arrived] == [
            tick % 2**32 for tick in ticks
        ]


async def test_nothing_is_sent_while_no_packet_is_given() -> None:
    async with connected_pair() as pair:
        sender = pair.device.pc.getSenders()[0]
        await play(pair.device, speech(0.2))
        await until(lambda: len(pair.gateway.arrived) == 10)
        for _ in range(20):
            await asyncio.sleep(0.01)

        stats = await sender.getStats()
        (outbound,) = [entry for entry in stats.values() if entry.type == "outbound-rtp"]
        assert outbound.packetsSent == 10


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.20])
async def test_under_loss_every_packet_that_arrives_is_played_in_order(loss: float) -> None:
    packets = speech(6)
    async with connected_pair() as pair:
        buffer, played = ReceiveBuffer(), []
        loop = asyncio.get_running_loop()

        def on_packet(sequence: int, timestamp: int, payload: bytes) -> None:
            buffer.push(sequence, timestamp, payload, loop.time())
            played.extend(buffer.pop(loop.time()))

        pair.gateway.tap(on_packet)
        dropped = pair.device.lose(loss, seed=4)
        await play(pair.device, packets, every=0.004)
        await until(lambda: packets_sent(pair.device.pc) > 0)

        def all_played() -> bool:
            played.extend(buffer.pop(loop.time()))
            return len(played) + len(dropped) == len(packets)

        await until(all_played)
        assert dropped
        assert [received.ticks for received in played] == sorted(r.ticks for r in played)
        kept = [packets.index(received.payload) for received in played]
        assert kept == sorted(kept)


POISON = [b"", b"\x00", b"\xff" * 3, b"\x03\xff" + b"\x80" * 40, bytes(range(256)) * 4]


@pytest.mark.parametrize("direction", ["to the gateway", "to the device"])
async def test_empty_and_garbage_payloads_in_mid_stream_do_not_stop_the_audio(
    direction: str,
) -> None:
    packets = speech(2)
    async with connected_pair() as pair:
        talker, listener = talker_and_listener(pair, direction)
        decoder, buffer = OpusDecoder(), ReceiveBuffer()
        heard: list[np.ndarray] = []
        refused: list[bytes] = []

        def on_packet(sequence: int, timestamp: int, payload: bytes) -> None:
            buffer.push(sequence, timestamp, payload, 0.0)
            for received in buffer.pop(0.0):
                try:
                    heard.append(decoder.decode(received.payload))
                except ValueError:
                    refused.append(received.payload)
            listener.arrived.append((sequence, timestamp, payload))

        listener.tap(on_packet)
        await play(talker, packets[:50])
        for number, payload in enumerate(POISON):
            talker.send_poison(payload, (50 + number) * PACKET_TICKS)
        await play(talker, packets[50:], first=55)
        await until(lambda: len(listener.arrived) == len(packets) + len(POISON))

        assert b"" in listener.payloads
        assert refused
        assert [samples.size for samples in heard[-50:]] == [CHUNK_SAMPLES] * 50
        assert np.abs(heard[-1]).max() > 1000
        assert listener.pc.connectionState == "connected"


async def test_mangled_rtp_and_rtcp_datagrams_do_not_end_the_call() -> None:
    async with connected_pair() as pair:
        transport = pair.device.pc.getSenders()[0].transport
        before = packets_received(pair.gateway.pc)
        junk = [b"\x80", b"\x80\xc9", b"\x80\x60" + bytes(6), b"\xbf" * 60, b"\x81\xc8\x00\x06" * 7]
        for data in junk:
            await transport.transport._send(data)
        await transport._send_rtp(b"\x80\xc9\x00\x09" + bytes(4))
        packets = speech(0.2)
        await play(pair.device, packets)
        await until(lambda: pair.gateway.payloads == packets)

        assert packets_received(pair.gateway.pc) >= before + len(junk) + len(packets)


async def test_an_error_of_the_listener_does_not_end_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected_pair() as pair:

        def fail(*_: object) -> None:
            raise RuntimeError

        pair.gateway.tap(fail)
        await play(pair.device, speech(0.02))
        await until(lambda: "a received packet was not handled" in caplog.text)
        pair.gateway.tap()
        await play(pair.device, speech(0.2))
        await until(lambda: len(pair.gateway.arrived) == 10)


async def test_stragglers_of_a_source_that_was_replaced_are_not_played() -> None:
    async with connected_pair() as pair:
        receiver = pair.gateway.receiver
        payload_type = next(iter(receiver._RTCRtpReceiver__codecs))  # type: ignore[attr-defined]  # the seam
        for source, payload in ((1, b"old"), (2, b"new"), (1, b"straggler"), (2, b"newer")):
            packet = RtpPacket(payload_type=payload_type, ssrc=source, payload=payload)
            await receiver._handle_rtp_packet(packet, arrival_time_ms=0)
        unknown = RtpPacket(payload_type=payload_type + 1, ssrc=2, payload=b"another codec")
        await receiver._handle_rtp_packet(unknown, arrival_time_ms=0)

        assert pair.gateway.payloads == [b"old", b"new", b"newer"]


async def test_a_keepalive_is_seen_by_the_other_end() -> None:
    async with connected_pair() as pair:
        before = packets_received(pair.gateway.pc)
        sent_before = packets_sent(pair.device.pc)
        await send_keepalive(pair.device.pc)

        await until(lambda: packets_received(pair.gateway.pc) > before)
        assert packets_sent(pair.device.pc) >= sent_before + 1


async def test_a_keepalive_on_a_closed_connection_does_nothing() -> None:
    async with connected_pair() as pair:
        await pair.device.pc.close()
        await send_keepalive(pair.device.pc)


async def test_a_track_keeps_the_newest_half_second_and_ends_when_stopped() -> None:
    track = PacketTrack()
    for number in range(100):
        track.send(b"%d" % number, number * PACKET_TICKS)
    taken = [bytes(await track.recv()) for _ in range(25)]
    assert taken == [b"%d" % number for number in range(75, 100)]

    waiting = asyncio.create_task(track.recv(), name="waiting for a packet")
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting


@pytest.mark.parametrize("packet", [b"", bytes(1276)], ids=["empty", "oversized"])
async def test_a_track_refuses_what_would_silence_a_receiver(packet: bytes) -> None:
    with pytest.raises(ValueError, match="Opus"):
        PacketTrack().send(packet, 0)


def talker_and_listener(pair: Pair, direction: str) -> tuple[Peer, Peer]:
    if direction == "to the gateway":
        return pair.device, pair.gateway
    return pair.gateway, pair.device
