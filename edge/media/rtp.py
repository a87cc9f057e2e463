"""Opus packets in and out of aiortc as they are: the one file that touches its private parts.

aiortc's own way of receiving loses most of the audio under light loss, encodes everything once
more, and reports over RTCP every second even in silence. What is used here of its inside is held
by `tests/integration/media/test_aiortc_seams.py`, which fails when aiortc changes.
"""

import asyncio
import logging
import struct
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, Protocol

import av
from aiortc import (
    MediaStreamTrack,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpRrPacket, RtcpSrPacket, RtpPacket

from schemas.audio import MAX_PACKET_BYTES, OPUS_CLOCK, PACKET_MS

logger = logging.getLogger(__name__)

OnPacket = Callable[[int, int, bytes], None]

_OPUS: Final = "audio/opus"
_TIME_BASE: Final = Fraction(1, OPUS_CLOCK)
_MAX_QUEUED: Final = 500 // PACKET_MS
_RETIRED_SOURCES: Final = 8
_RECEIVER_REPORT: Final = 201
"""RTCP packet type of a receiver report (RFC 3550, section 6.4.2)."""


class _Handler(Protocol):
    async def __call__(self, packet: RtpPacket, arrival_time_ms: int) -> None: ...


class _NoJitterBuffer:
    """Stands where aiortc keeps packets back for its decoder; keeps none."""

    def add(self, _packet: RtpPacket) -> tuple[bool, None]:
        return False, None


class _Tap:
    """Hands the Opus packets of one receiver to a function, after aiortc has counted them."""

    def __init__(self, receiver: RTCRtpReceiver, on_packet: OnPacket) -> None:
        self._count: _Handler = receiver._handle_rtp_packet  # noqa: SLF001  # the seam
        self._codecs: dict[int, Any] = receiver._RTCRtpReceiver__codecs  # type: ignore[attr-defined]  # noqa: SLF001  # the seam
        self.on_packet = on_packet
        self._source: int | None = None
        self._retired: deque[int] = deque(maxlen=_RETIRED_SOURCES)

    async def handle(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await self._count(packet, arrival_time_ms)
        codec = self._codecs.get(packet.payload_type)
        if codec is None or codec.mimeType.lower() != _OPUS or self._is_stale(packet.ssrc):
            return
        try:
            self.on_packet(packet.sequence_number, packet.timestamp, packet.payload)
        except Exception:
            # An error that got out of here would end aiortc's read loop, and the call with it.
            logger.exception("a received packet was not handled")

    def _is_stale(self, source: int) -> bool:
        """Return whether `source` was replaced by another: its stragglers are not played."""
        if source in self._retired:
            return True
        if self._source is not None and source != self._source:
            self._retired.append(self._source)
        self._source = source
        return False


def tap_receiver(receiver: RTCRtpReceiver, on_packet: OnPacket) -> None:
    """Hand each Opus packet of `receiver` to `on_packet(sequence, timestamp, payload)`.

    Packets bypass aiortc's jitter buffer and decoder; its RTCP statistics stay. Call it as soon as
    the receiver is there; a second call replaces the function. Payloads come as they were sent:
    empty and garbage ones, too.
    """
    before = getattr(receiver._handle_rtp_packet, "__self__", None)  # noqa: SLF001  # the seam
    if isinstance(before, _Tap):
        before.on_packet = on_packet
        return
    tap = _Tap(receiver, on_packet)
    receiver._RTCRtpReceiver__jitter_buffer = _NoJitterBuffer()  # type: ignore[attr-defined]  # noqa: SLF001  # the seam
    receiver._handle_rtp_packet = tap.handle  # type: ignore[method-assign]  # noqa: SLF001  # the seam


def opus_only(pc: RTCPeerConnection) -> None:
    """Offer or accept no audio codec but Opus; call it before the offer or answer is made."""
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    opus = [codec for codec in codecs if codec.mimeType.lower() == _OPUS]
    for transceiver in pc.getTransceivers():
        if transceiver.kind == "audio":
            transceiver.setCodecPreferences(opus)


class _QuietReports:
    """Lets a report through when it says something new, or the last one is `every` seconds old."""

    def __init__(self, send: Callable[[Any], Any], every: float) -> None:
        self._send = send
        self._every = every
        self._said: object = 0
        self._sent_at = time.monotonic()

    async def __call__(self, packets: Any) -> None:
        first = packets[0] if isinstance(packets, list) else packets
        if isinstance(first, RtcpSrPacket):
            news: object = first.sender_info.packet_count
        elif isinstance(first, RtcpRrPacket):
            news = tuple((report.ssrc, report.highest_sequence) for report in first.reports)
        else:
            await self._send(packets)  # a farewell or feedback: never held back
            return
        now = time.monotonic()
        if news != self._said or now - self._sent_at >= self._every:
            self._said, self._sent_at = news, now
            await self._send(packets)


def quiet_rtcp(pc: RTCPeerConnection, every: float = 30.0) -> None:
    """Send RTCP reports of `pc` only after new RTP, else every `every` seconds.

    Call it when the connection's senders and receivers are there; a second call changes nothing.
    """
    ends: list[RTCRtpSender | RTCRtpReceiver] = [*pc.getSenders(), *pc.getReceivers()]
    for end in ends:
        if not isinstance(end._send_rtcp, _QuietReports):  # noqa: SLF001  # the seam
            end._send_rtcp = _QuietReports(end._send_rtcp, every)  # type: ignore[method-assign]  # noqa: SLF001  # the seam


async def send_keepalive(pc: RTCPeerConnection) -> None:
    """Send the smallest sign of life: an empty receiver report, about 50 bytes on the wire.

    Does nothing where the connection is not up.
    """
    senders = pc.getSenders()
    if not senders or senders[0].transport is None:
        return
    source = senders[0]._ssrc  # noqa: SLF001  # the seam
    report = struct.pack("!BBHL", 0x80, _RECEIVER_REPORT, 1, source)
    try:
        await senders[0].transport._send_rtp(report)  # noqa: SLF001  # the seam
    except ConnectionError:
        return


def packets_received(pc: RTCPeerConnection) -> int:
    """Return how many packets arrived on the connection so far: RTP, RTCP and data."""
    return sum(int(_transport_stats(transport).packetsReceived) for transport in _transports(pc))


def packets_sent(pc: RTCPeerConnection) -> int:
    """Return how many packets left on the connection so far: RTP, RTCP and data."""
    return sum(int(_transport_stats(transport).packetsSent) for transport in _transports(pc))


def _transports(pc: RTCPeerConnection) -> set[RTCDtlsTransport]:
    transports = {sender.transport for sender in pc.getSenders() if sender.transport is not None}
    if pc.sctp is not None:
        transports.add(pc.sctp.transport)
    return transports


def _transport_stats(transport: RTCDtlsTransport) -> Any:
    (stats,) = transport._get_stats().values()  # noqa: SLF001  # the seam
    return stats


class PacketTrack(MediaStreamTrack):
    """A track of Opus packets that were encoded elsewhere; silent until one is sent."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[av.Packet[Any]] = deque(maxlen=_MAX_QUEUED)
        self._wake = asyncio.Event()

    def send(self, packet: bytes, ticks: int) -> None:
        """Queue one Opus packet whose time is `ticks` at 48 kHz; beyond 500 ms the oldest goes.

        Raises ValueError for a packet that is empty or too large to be one frame of Opus.
        """
        if not 0 < len(packet) <= MAX_PACKET_BYTES:
            raise ValueError(f"an Opus packet has 1 to {MAX_PACKET_BYTES} bytes, not {len(packet)}")
        wrapped = av.Packet(packet)
        wrapped.pts = ticks
        wrapped.time_base = _TIME_BASE
        self._queue.append(wrapped)
        self._wake.set()

    def clear(self) -> None:
        """Drop what has been queued and not yet been taken."""
        self._queue.clear()

    async def recv(self) -> "av.Packet[Any]":
        """Return the next packet as soon as there is one; MediaStreamError once stopped."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def stop(self) -> None:
        """End the track; whoever waits in `recv` gets a MediaStreamError."""
        super().stop()
        self._queue.clear()
        self._wake.set()
