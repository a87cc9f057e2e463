"""What `edge/media/rtp.py` uses of the inside of aiortc; one test for each private part.

When one of these fails after an update of aiortc, `rtp.py` has to change with it.
"""

import inspect
import struct

import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender, RTCStatsReport
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.rtp import RtcpRrPacket, RtcpSrPacket, RtpPacket
from aiortc.stats import RTCInboundRtpStreamStats

from edge.media.rtp import packets_received
from tests.integration.media.pairs import Pair, connected_pair, play, until

PACKETS = [b"\x48" + bytes([number]) * 40 for number in range(20)]


def inbound_packets(stats: RTCStatsReport) -> int:
    (inbound,) = [one for one in stats.values() if isinstance(one, RTCInboundRtpStreamStats)]
    return inbound.packetsReceived


def test_a_receiver_handles_an_rtp_packet_with_these_arguments() -> None:
    assert list(inspect.signature(RTCRtpReceiver._handle_rtp_packet).parameters) == [
        "self",
        "packet",
        "arrival_time_ms",
    ]
    assert inspect.iscoroutinefunction(RTCRtpReceiver._handle_rtp_packet)


def test_a_packet_has_the_fields_that_the_tap_reads() -> None:
    packet = RtpPacket(payload_type=96, sequence_number=1, timestamp=2, ssrc=3, payload=b"4")

    assert (packet.payload_type, packet.sequence_number, packet.timestamp) == (96, 1, 2)
    assert (packet.ssrc, packet.payload) == (3, b"4")


async def test_the_transport_looks_up_the_receivers_method_on_the_instance() -> None:
    async with connected_pair(tap=False) as pair:
        receiver, seen = pair.gateway.receiver, []
        real = receiver._handle_rtp_packet

        async def spy(packet: RtpPacket, arrival_time_ms: int) -> None:
            seen.append(packet.payload)
            await real(packet, arrival_time_ms=arrival_time_ms)

        receiver._handle_rtp_packet = spy  # type: ignore[method-assign]  # the seam
        await play(pair.device, PACKETS)
        await until(lambda: seen == PACKETS)


async def test_a_receiver_has_the_jitter_buffer_and_the_codecs_that_the_tap_uses() -> None:
    async with connected_pair(tap=False) as pair:
        receiver = pair.gateway.receiver

        assert hasattr(receiver._RTCRtpReceiver__jitter_buffer, "add")  # type: ignore[attr-defined]  # the seam
        codecs = receiver._RTCRtpReceiver__codecs  # type: ignore[attr-defined]  # the seam
        assert [codec.mimeType for codec in codecs.values()] == ["audio/opus"]


async def test_a_tapped_receiver_still_counts_and_decodes_nothing() -> None:
    async with connected_pair() as pair:
        await play(pair.device, PACKETS)
        await until(lambda: pair.gateway.payloads == PACKETS)
        receiver = pair.gateway.receiver

        assert inbound_packets(await receiver.getStats()) == len(PACKETS)
        assert receiver._RTCRtpReceiver__decoder_queue.empty()  # type: ignore[attr-defined]  # private
        assert isinstance(receiver.track, RemoteStreamTrack)
        assert receiver.track._queue.empty()


@pytest.mark.parametrize("end", ["sender", "receiver"])
async def test_rtcp_rounds_look_up_their_send_method_on_the_instance(end: str) -> None:
    async with connected_pair(tap=False) as pair:
        ends: dict[str, RTCRtpSender | RTCRtpReceiver]
        ends = {"sender": pair.device.pc.getSenders()[0], "receiver": pair.gateway.receiver}
        reports: list[object] = []

        async def spy(packets: object) -> None:
            reports.append(packets)

        ends[end]._send_rtcp = spy  # type: ignore[method-assign]  # the seam
        await play(pair.device, PACKETS)
        await until(lambda: len(reports) >= 2, seconds=5)

        assert_report_of(end, reports[-1])
        del ends[end]._send_rtcp  # so that the farewell goes out


def assert_report_of(end: str, report: object) -> None:
    if end == "sender":
        assert isinstance(report, list)
        assert isinstance(report[0], RtcpSrPacket)
        assert report[0].sender_info.packet_count == len(PACKETS)
    else:
        assert isinstance(report, RtcpRrPacket)
        assert [info.highest_sequence for info in report.reports] != [None]


@pytest.mark.parametrize("kind", [RTCRtpSender, RTCRtpReceiver])
def test_both_ends_have_the_method_that_is_made_quiet(
    kind: type[RTCRtpSender | RTCRtpReceiver],
) -> None:
    assert inspect.iscoroutinefunction(kind._send_rtcp)


async def test_an_empty_receiver_report_crosses_the_dtls_transport_in_22_to_28_bytes() -> None:
    async with connected_pair() as pair:
        sizes = watch_sizes(pair)
        sender = pair.device.pc.getSenders()[0]
        report = struct.pack("!BBHL", 0x80, 201, 1, sender._ssrc)
        before = packets_received(pair.gateway.pc)
        await sender.transport._send_rtp(report)

        await until(lambda: packets_received(pair.gateway.pc) > before)
        # 8 bytes, the SRTCP index (4) and an authentication tag (10 or 16).
        assert 22 <= sizes[0] <= 28


async def test_the_transport_counts_what_it_sends_and_receives() -> None:
    async with connected_pair() as pair:
        transport = pair.device.pc.getSenders()[0].transport
        (stats,) = transport._get_stats().values()

        assert stats.packetsSent > 0
        assert stats.packetsReceived > 0
        sctp = pair.device.pc.sctp
        assert sctp is not None
        assert transport is sctp.transport, "audio and data are bundled"


async def test_a_closed_transport_refuses_with_a_connection_error() -> None:
    async with connected_pair() as pair:
        transport = pair.device.pc.getSenders()[0].transport
        await pair.device.pc.close()

        with pytest.raises(ConnectionError):
            await transport._send_rtp(b"\x80\xc9\x00\x01" + bytes(4))


def watch_sizes(pair: Pair) -> list[int]:
    """The sizes of what the device's DTLS transport hands to ICE from now on."""
    ice = pair.device.pc.getSenders()[0].transport.transport
    send, sizes = ice._send, []

    async def spy(data: bytes) -> None:
        sizes.append(len(data))
        await send(data)

    ice._send = spy
    return sizes
