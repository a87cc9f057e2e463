"""The device's end of a WebRTC session: RTP both ways, events, and whether the other end lives."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError
from pydantic import ValidationError

from edge.errors import ConnectionLostError, UnreachableError
from edge.media.rtp import PacketTrack, packets_received, quiet_rtcp, send_keepalive, tap_receiver
from edge.settings import DeviceSettings
from edge.whip import delete_session, http_client, post_offer
from schemas import session_events

logger = logging.getLogger(__name__)

KEEPALIVE_S: Final = 1.0
CHECK_S: Final = 0.25
MAX_BUFFERED_BYTES: Final = 64_000
CLOSE_S: Final = 5.0


class Ears(Protocol):
    """Who hears what comes from the gateway; nothing here may wait."""

    def on_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """Take an RTP packet of the reply."""
        ...

    def on_event(self, event: session_events.AnyServerEvent) -> None:
        """Take an event."""
        ...

    def on_degraded(self, *, degraded: bool) -> None:
        """Take notice that the gateway has fallen silent, or is heard again."""
        ...


class Peer:
    """A session that is up."""

    def __init__(self, pc: RTCPeerConnection, channel: RTCDataChannel, track: PacketTrack) -> None:
        self._pc = pc
        self._channel = channel
        self._track = track
        self._sent_at = time.monotonic()

    def send_packet(self, packet: bytes, ticks: int) -> None:
        """Send 20 ms of Opus; `ticks` is its time at 48 kHz."""
        self._sent_at = time.monotonic()
        self._track.send(packet, ticks)

    def send_event(self, event: session_events.ClientEvent) -> None:
        """Send an event; on a channel that is closed or blocked it is dropped."""
        if self._channel.readyState != "open" or self._channel.bufferedAmount > MAX_BUFFERED_BYTES:
            logger.warning("event not sent: %s", event.type)
            return
        self._sent_at = time.monotonic()
        self._channel.send(session_events.write_event(event))

    async def watch(self, settings: DeviceSettings, ears: Ears) -> None:
        """Keep the session alive until the gateway is lost: raises ConnectionLostError."""
        received, sign_at, degraded = -1, time.monotonic(), False
        while True:
            now = time.monotonic()
            if (count := packets_received(self._pc)) != received:
                received, sign_at = count, now
            silent_s = now - sign_at
            if silent_s >= settings.lost_s or self._is_closed:
                raise ConnectionLostError(
                    "the connection to the server is lost; "
                    "check the network and that the server is still running."
                )
            if (silent_s >= settings.degraded_s) is not degraded:
                degraded = not degraded
                ears.on_degraded(degraded=degraded)
            if now - self._sent_at >= KEEPALIVE_S:
                self._sent_at = now
                await send_keepalive(self._pc)
            await asyncio.sleep(CHECK_S)

    @property
    def _is_closed(self) -> bool:
        return self._pc.connectionState in {"failed", "closed"} or self._channel.readyState in {
            "closing",
            "closed",
        }


@asynccontextmanager
async def open_peer(settings: DeviceSettings, ears: Ears) -> AsyncIterator[Peer]:
    """Connect to the agent and say that this device gates itself; ends the session at exit.

    Raises RefusedError, BusyError or UnreachableError when there is no session within
    `settings.connect_s`.
    """
    servers = [RTCIceServer(urls=url) for url in settings.ice_servers]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    channel = pc.createDataChannel(session_events.CHANNEL)
    track = PacketTrack()
    session_url: str | None = None
    async with http_client(settings) as http:
        try:
            is_open = _listen(channel, ears.on_event)
            _send_and_receive(pc, track, ears.on_packet)
            try:
                async with asyncio.timeout(settings.connect_s):
                    await pc.setLocalDescription(await pc.createOffer())
                    answer = await post_offer(http, settings, pc.localDescription.sdp)
                    session_url = answer.session_url
                    await _accept(pc, answer.sdp)
                    await is_open.wait()
            except TimeoutError as error:
                raise UnreachableError(
                    f"{settings.server} answered, but no audio connection came up within "
                    f"{settings.connect_s:g} s; let UDP pass between device and server."
                ) from error
            quiet_rtcp(pc)
            peer = Peer(pc, channel, track)
            peer.send_event(session_events.GateClosed(silence_ms=0))
            yield peer
        finally:
            await delete_session(http, session_url)
            await _close(pc)


def _listen(
    channel: RTCDataChannel, on_event: Callable[[session_events.AnyServerEvent], None]
) -> asyncio.Event:
    """Read events from the channel; the returned event is set once it is open."""
    is_open = asyncio.Event()
    channel.on("open", is_open.set)

    def on_message(message: str | bytes) -> None:
        if len(message) > session_events.MAX_EVENT_BYTES:
            logger.warning("event of %d bytes ignored", len(message))
            return
        try:
            event = session_events.read_server_event(message)
        except ValidationError:
            logger.warning("malformed event ignored")
            return
        if event is not None:
            on_event(event)

    channel.on("message", on_message)
    return is_open


def _send_and_receive(
    pc: RTCPeerConnection, track: PacketTrack, on_packet: Callable[[int, int, bytes], None]
) -> None:
    """Offer one audio line, Opus alone, and hand its packets to `on_packet`."""
    pc.addTrack(track)
    (transceiver,) = pc.getTransceivers()
    able = RTCRtpReceiver.getCapabilities("audio")
    codecs = able.codecs if able is not None else []
    transceiver.setCodecPreferences([codec for codec in codecs if codec.name == "opus"])
    tap_receiver(transceiver.receiver, on_packet)


async def _accept(pc: RTCPeerConnection, sdp: str) -> None:
    try:
        await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
    except (
        ValueError,
        LookupError,
        AssertionError,
        AttributeError,
        InvalidAccessError,
        InvalidStateError,
    ) as error:
        raise UnreachableError(
            "the server's answer cannot be used; do device and server have the same version?"
        ) from error


async def _close(pc: RTCPeerConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await pc.close()
    except TimeoutError:
        logger.warning("the connection did not close in time")
