"""A real aiortc client of the gateway: it sends packets, keeps what comes, and waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self, TypeVar

import httpx
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from edge.media.receive_buffer import ReceiveBuffer
from edge.media.rtp import PacketTrack, quiet_rtcp, send_keepalive, tap_receiver
from schemas.audio import PACKET_TICKS
from schemas.session_events import (
    CHANNEL,
    AnyServerEvent,
    ClientEvent,
    GateClosed,
    GateOpened,
    read_server_event,
    write_event,
)

E = TypeVar("E")
WAIT_S = 10.0


@dataclass
class Client:
    """One end of a call; `events` and `packets` hold what came, each with its time."""

    pc: RTCPeerConnection
    track: PacketTrack
    channel: RTCDataChannel | None = None
    events: list[AnyServerEvent] = field(default_factory=list)
    event_times: list[float] = field(default_factory=list)
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    session_path: str = ""
    _sent: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _buffer: ReceiveBuffer = field(default_factory=ReceiveBuffer)

    @classmethod
    @asynccontextmanager
    async def calling(
        cls,
        http: httpx.AsyncClient,
        agent_id: str,
        *,
        channel: bool = True,
        gates_itself: bool = True,
        keep_alive: bool = True,
    ) -> AsyncIterator[Self]:
        client = cls(RTCPeerConnection(RTCConfiguration(iceServers=[])), PacketTrack())
        if channel:
            client._open_channel(gates_itself=gates_itself)
        living = asyncio.create_task(client._live(), name="client keepalive")
        try:
            await client._connect(http, agent_id)
            if not keep_alive:
                living.cancel()
            yield client
        finally:
            living.cancel()
            await client.pc.close()

    def _open_channel(self, *, gates_itself: bool) -> None:
        self.channel = channel = self.pc.createDataChannel(CHANNEL)
        channel.on("message", self._on_message)
        if gates_itself:
            channel.on("open", lambda: self.send(GateClosed(silence_ms=0)))

    async def offer(self) -> str:
        transceiver = self.pc.addTransceiver(self.track, "sendrecv")
        tap_receiver(transceiver.receiver, self._on_packet)
        quiet_rtcp(self.pc)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def _connect(self, http: httpx.AsyncClient, agent_id: str) -> None:
        answer = await http.post(
            f"/v1/agents/{agent_id}/sessions",
            content=await self.offer(),
            headers={"Content-Type": "application/sdp"},
        )
        assert answer.status_code == 201, answer.text
        self.session_path = answer.headers["location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await self.until(lambda: self.pc.connectionState == "connected")
        if self.channel is not None:
            await self.until(lambda: "session.ready" in self.types)

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(1)
            await send_keepalive(self.pc)

    def _on_message(self, message: str) -> None:
        event = read_server_event(message)
        assert event is not None
        self.events.append(event)
        self.event_times.append(time.monotonic())
        self._changed.set()

    def _on_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        now = time.monotonic()
        self._buffer.push(sequence, timestamp, payload, now)
        self.packets += [(now, received.payload) for received in self._buffer.pop(now)]
        self._changed.set()

    def send(self, event: ClientEvent) -> None:
        assert self.channel is not None
        self.channel.send(write_event(event))

    def send_packets(self, packets: list[bytes]) -> None:
        """Send packets as one burst, which is how a pre-roll goes out."""
        for packet in packets:
            self.track.send(packet, self._sent * PACKET_TICKS)
            self._sent += 1

    async def stream(self, packets: list[bytes]) -> None:
        """Send packets in real time."""
        began = time.monotonic()
        for count, packet in enumerate(packets, start=1):
            self.send_packets([packet])
            await asyncio.sleep(max(0.0, began + count * 0.02 - time.monotonic()))

    async def say(self, packets: list[bytes], silence_ms: float = 200) -> None:
        """Open the gate, send packets at once, shut it."""
        self.send(GateOpened())
        self.send_packets(packets)
        await asyncio.sleep(0.1)
        self.send(GateClosed(silence_ms=silence_ms))

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], wait_s: float = WAIT_S) -> None:
        """Wait until something is so; what came in the meantime is in the failure."""
        give_up = time.monotonic() + wait_s
        while not condition():
            left = give_up - time.monotonic()
            assert left > 0, f"still not so; events: {self.types}, packets: {len(self.packets)}"
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left, 0.05)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def heard(self, event_type: str, count: int = 1, wait_s: float = WAIT_S) -> None:
        await self.until(lambda: self.types.count(event_type) >= count, wait_s)
