"""One WebRTC connection: Opus packets and events in and out, nothing else of aiortc."""

import asyncio
from typing import Final, Protocol

import structlog
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from edge.media.receive_buffer import ReceiveBuffer, Received
from edge.media.rtp import (
    PacketTrack,
    packets_received,
    quiet_rtcp,
    send_keepalive,
    tap_receiver,
)
from schemas.audio import MAX_PACKET_BYTES
from schemas.session_events import CHANNEL
from workers.errors import StorageUnavailableError
from workers.gateway.session.sdp_limits import OfferError
from workers.gateway.session.sdp_offer import Offer

ANSWER_S: Final = 5.0
CLOSE_S: Final = 3.0
_log = structlog.get_logger(__name__)


class PeerEvents(Protocol):
    """What a session wants to know of its peer; every call returns at once."""

    def connected(self) -> None:
        """Take in that audio can flow."""

    def disconnected(self) -> None:
        """Take in that the peer is gone for good."""

    def channel_opened(self, channel: RTCDataChannel) -> None:
        """Take in that the client opened its channel `events`."""

    def packet_received(self, packet: Received) -> None:
        """Take one Opus packet, in order."""


class Peer:
    """A client's connection, from its offer to its end."""

    def __init__(self, events: PeerEvents, ice_servers: tuple[str, ...]) -> None:
        servers = [RTCIceServer(url) for url in ice_servers]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._events = events
        self._track = PacketTrack()
        self._buffer = ReceiveBuffer()
        self._loop = asyncio.get_running_loop()
        self._overdue: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._pc.on("connectionstatechange", self._on_state)
        self._pc.on("datachannel", self._on_channel)

    async def answer(self, offer: Offer) -> str:
        """Return the answer to an offer; raises OfferError where the library refuses it."""
        transceiver = self._pc.addTransceiver(self._track, "sendrecv")
        tap_receiver(transceiver.receiver, self._on_packet)
        quiet_rtcp(self._pc)
        try:
            async with asyncio.timeout(ANSWER_S):
                description = RTCSessionDescription(sdp=offer.to_sdp(), type="offer")
                await self._pc.setRemoteDescription(description)
                await self._pc.setLocalDescription(await self._pc.createAnswer())
        except TimeoutError:
            raise StorageUnavailableError("no network address was found in time") from None
        except Exception as error:
            _log.info("offer refused by the WebRTC library", error=type(error).__name__)
            raise OfferError("the offer cannot be answered") from error
        return str(self._pc.localDescription.sdp)

    @property
    def packets_received(self) -> int:
        """How many packets of any kind have arrived."""
        return packets_received(self._pc)

    def send(self, packet: bytes, ticks: int) -> None:
        """Send one Opus packet, at its RTP time in 48 kHz ticks; one that is none is left out."""
        if 0 < len(packet) <= MAX_PACKET_BYTES:
            self._track.send(packet, ticks)

    async def keep_alive(self) -> None:
        """Send the smallest sign of life."""
        await send_keepalive(self._pc)

    async def close(self) -> None:
        """End the connection; the client sees it go."""
        self._is_closed = True
        if self._overdue is not None:
            self._overdue.cancel()
        self._track.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._pc.close()
        except TimeoutError:
            _log.warning("connection did not close in time")

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if self._is_closed:
            return
        if state == "connected":
            self._events.connected()
        elif state in ("failed", "closed"):
            self._events.disconnected()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == CHANNEL and not self._is_closed:
            self._events.channel_opened(channel)

    def _on_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        self._buffer.push(sequence, timestamp, payload, self._loop.time())
        self._release()

    def _release(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if self._is_closed:
            return
        for packet in self._buffer.pop(self._loop.time()):
            self._events.packet_received(packet)
        deadline = self._buffer.next_deadline()
        if deadline is not None:
            self._overdue = self._loop.call_at(deadline, self._release)
