"""Two real aiortc peers on loopback, each with a packet track and a tap."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import is_rtcp

from edge.media.rtp import PacketTrack, opus_only, quiet_rtcp, tap_receiver
from schemas.audio import PACKET_TICKS

Arrived = tuple[int, int, bytes]
Send = Callable[[bytes], Awaitable[None]]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once `condition` holds; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # aiortc tells nobody of most of what it does
            await asyncio.sleep(0.005)


@dataclass
class Peer:
    """One end of a call."""

    pc: RTCPeerConnection
    track: PacketTrack = field(default_factory=PacketTrack)
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload in self.arrived]

    @property
    def receiver(self) -> RTCRtpReceiver:
        return self.pc.getReceivers()[0]

    def tap(self, on_packet: Callable[[int, int, bytes], None] | None = None) -> None:
        tap_receiver(self.receiver, on_packet or (lambda *packet: self.arrived.append(packet)))

    def send_poison(self, payload: bytes, ticks: int) -> None:
        """Send what `PacketTrack.send` would refuse."""
        packet = av.Packet(payload)
        packet.pts = ticks
        packet.time_base = Fraction(1, 48_000)
        self.track._queue.append(packet)
        self.track._wake.set()

    def lose(self, share: float, seed: int) -> list[bytes]:
        """Drop a share of the RTP packets that this end sends; the list fills with them."""
        transport = self.pc.getSenders()[0].transport.transport
        send: Send = transport._send
        chance = random.Random(seed)
        dropped: list[bytes] = []

        async def lossy(data: bytes) -> None:
            media = 127 < data[0] < 192 and not is_rtcp(data)
            if media and chance.random() < share:
                dropped.append(data)
            else:
                await send(data)

        transport._send = lossy
        return dropped


@dataclass
class Pair:
    """Two peers in a call: `device` made the offer, `gateway` answered it."""

    device: Peer
    gateway: Peer

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return self.device, self.gateway


@asynccontextmanager
async def connected_pair(*, tap: bool = True, quiet_every: float = 30.0) -> AsyncIterator[Pair]:
    """Two peers that are connected, with a data channel, taps in place and quiet RTCP."""
    nowhere = RTCConfiguration(iceServers=[])
    pair = Pair(Peer(RTCPeerConnection(nowhere)), Peer(RTCPeerConnection(nowhere)))
    device, gateway = pair.peers
    try:
        await _connect(device, gateway, tap=tap)
        for peer in pair.peers:
            quiet_rtcp(peer.pc, quiet_every)
        await until(lambda: all(peer.pc.connectionState == "connected" for peer in pair.peers))
        yield pair
    finally:
        for peer in pair.peers:
            await peer.pc.close()


async def _connect(device: Peer, gateway: Peer, *, tap: bool) -> None:
    for peer in (device, gateway):
        peer.pc.addTrack(peer.track)
        if tap:
            peer.tap()
    device.pc.createDataChannel("events")
    opus_only(device.pc)
    await device.pc.setLocalDescription(await device.pc.createOffer())
    await gateway.pc.setRemoteDescription(device.pc.localDescription)
    await gateway.pc.setLocalDescription(await gateway.pc.createAnswer())
    await device.pc.setRemoteDescription(gateway.pc.localDescription)


async def play(peer: Peer, packets: list[bytes], first: int = 0, every: float = 0.002) -> None:
    """Send packets one after the other, faster than real time, so that no queue overflows."""
    for number, packet in enumerate(packets, start=first):
        peer.track.send(packet, number * PACKET_TICKS)
        await asyncio.sleep(every)
