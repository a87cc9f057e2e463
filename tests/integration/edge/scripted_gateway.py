"""A gateway for tests of the device: real HTTP, real WebRTC, and a script instead of an agent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdatachannel import RTCDataChannel

from edge.media.opus import OpusDecoder, OpusEncoder
from edge.media.rtp import PacketTrack, packets_received, quiet_rtcp, send_keepalive, tap_receiver
from schemas import session_events as events
from schemas.audio import PACKET_TICKS
from schemas.error import ErrorBody

AGENT = "agent_" + "a" * 32
KEY = "test-key-0123456789"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def until(reached: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for a condition; fails with TimeoutError after a deadline."""
    async with asyncio.timeout(within_s):
        while not reached():  # noqa: ASYNC110  # the state is another library's: nothing signals it
            await asyncio.sleep(0.01)


def tone(seconds: float, hertz: float = 300.0) -> np.ndarray[Any, np.dtype[np.int16]]:
    times = np.arange(int(seconds * 16_000)) / 16_000
    return np.asarray(np.sin(2 * np.pi * hertz * times) * 8_000, dtype=np.int16)


@dataclass
class Script:
    """What the gateway does; may be changed while it runs."""

    status: int = 201
    retry_after: str | None = None
    answer: str | None = None
    greeting: str | None = None
    transcript: str = "hello agent"
    reply_text: str = "hello user"
    reply_s: float = 1.0
    lose_every: int = 0
    poison: bool = False
    answers: bool = True
    ignores: bool = False
    fails_with: tuple[str, str] | None = None
    endpoint_s: float = 0.1
    config: dict[str, Any] = field(default_factory=dict)
    changed_config: dict[str, Any] | None = None
    tools: tuple[events.ToolCall, ...] = ()


class Call:
    """The gateway's end of one session."""

    def __init__(self, script: Script, session_id: str) -> None:
        self.script = script
        self.session_id = session_id
        self.pc = RTCPeerConnection()
        self.track = PacketTrack()
        self.events: list[events.ClientEvent] = []
        self.packets: list[tuple[int, int, bytes]] = []
        self.is_mute = False
        self._channel: RTCDataChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reply: asyncio.Task[None] | None = None
        self._sent = 0
        self._turns = 0

    async def answer(self, offer: str) -> str:
        self.pc.on("datachannel", self._opened)
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        self.pc.addTrack(self.track)
        tap_receiver(self.pc.getTransceivers()[0].receiver, self._received)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        quiet_rtcp(self.pc)
        self._start(self._stay_alive())
        return self.pc.localDescription.sdp

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pc.close()

    @property
    def wire_packets(self) -> int:
        return packets_received(self.pc)

    def heard(self) -> np.ndarray[Any, np.dtype[np.int16]]:
        """All that the device sent, decoded, 16 kHz."""
        decoder = OpusDecoder()
        return np.concatenate([decoder.decode(payload) for _, _, payload in self.packets])

    def send(self, event: events.AnyServerEvent) -> None:
        if self._channel is not None and not self.is_mute:
            self._channel.send(events.write_event(event))

    def send_text(self, text: str) -> None:
        assert self._channel is not None
        self._channel.send(text)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _stay_alive(self) -> None:
        while True:
            if not self.is_mute:
                await send_keepalive(self.pc)
            await asyncio.sleep(0.5)

    def _received(self, sequence: int, timestamp: int, payload: bytes) -> None:
        self.packets.append((sequence, timestamp, payload))

    def _opened(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_message)
        config = {"greeting": self.script.greeting, **self.script.config}
        self.send(events.SessionReady(session_id=self.session_id, config=config))
        if self.script.greeting:
            self._reply = self._start(self._speak(self.script.greeting))

    def _on_message(self, text: str) -> None:
        event = events.read_client_event(text)
        self.events.append(event)
        if isinstance(event, events.GateOpened):
            if self._reply is not None and not self._reply.done():
                self._reply.cancel()
            self.send(events.SpeechStarted())
            if self.script.changed_config is not None:
                self.send(events.SessionUpdated(config=self.script.changed_config))
        elif isinstance(event, events.GateClosed) and len(self.events) > 1:
            self._reply = self._start(self._take_turn())

    async def _take_turn(self) -> None:
        await asyncio.sleep(self.script.endpoint_s)
        self._turns += 1
        self.send(events.SpeechStopped(silence_ms=self.script.endpoint_s * 1000))
        if not self.script.answers:
            return
        text = "" if self.script.ignores else self.script.transcript
        self.send(events.UserTranscript(item_id=f"item_{self._turns}", text=text))
        for call in self.script.tools:
            self.send(call)
        if not self.script.ignores:
            await self._speak(self.script.reply_text)

    async def _speak(self, text: str) -> None:
        reply = {"reply_id": f"reply_{self._turns}", "item_id": "item_r"}
        self.send(events.ReplyStarted(**reply))
        self.send(events.AgentTranscriptDelta(**reply, delta=text, start_ms=0, end_ms=1))
        status = "completed"
        try:
            if self.script.fails_with is not None:
                code, message = self.script.fails_with
                status = "failed"
                self.send(
                    events.ReplyError(
                        reply_id=reply["reply_id"], code=code, message=message, retryable=True
                    )
                )
            await self._play()
        except asyncio.CancelledError:
            status = "interrupted"
        cut = text.split(maxsplit=1)[0] if status == "interrupted" else text
        self.send(events.AgentTranscript(**reply, text=cut, interrupted=status == "interrupted"))
        self.send(
            events.ReplyDone.model_validate({"reply_id": reply["reply_id"], "status": status})
        )
        self.send(events.ReplyMetrics(reply_id=reply["reply_id"], stt_ms=12.5, endpoint_ms=100.0))

    async def _play(self) -> None:
        began = asyncio.get_running_loop().time()
        for index, packet in enumerate(OpusEncoder().encode(tone(self.script.reply_s))):
            self._sent += 1
            if not (self.script.lose_every and index % self.script.lose_every == 1):
                self.track.send(packet, self._sent * PACKET_TICKS)
            if self.script.poison and index % 10 == 5:
                self._sent += 1
                self.track.send(b"\xff" * 700, self._sent * PACKET_TICKS)
            wait = began + (index + 1) * 0.02 - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, wait))


def _knows_key(headers: dict[str, str]) -> bool:
    return headers.get("authorization") == f"Bearer {KEY}"


class ScriptedGateway:
    """The front door: `POST /v1/agents/{id}/sessions`, `DELETE /v1/sessions/{id}`, `/healthz`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.deleted: list[str] = []
        self.requests: list[str] = []
        self.url = ""

    @property
    def call(self) -> Call:
        """The only session."""
        (call,) = self.calls
        return call

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(f"{scope['method']} {scope['path']}")
        status, kind, text, extra = await self._answer(scope, headers, body.decode())
        sent = [(b"content-type", kind.encode()), *extra]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": text.encode()})

    async def _answer(
        self, scope: dict[str, Any], headers: dict[str, str], body: str
    ) -> tuple[int, str, str, list[tuple[bytes, bytes]]]:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            return 200, "application/json", "{}", []
        if not _knows_key(headers):
            return self._error(401, "unauthorized")
        if AGENT not in path and not path.startswith("/v1/sessions/"):
            return self._error(404, "agent_not_found")
        if method == "DELETE":
            self.deleted.append(path)
            return 204, "text/plain", "", []
        assert headers["content-type"] == "application/sdp"
        if self.script.status != 201 or not body:
            refusal = (self.script.status, "unavailable") if body else (400, "invalid_request")
            return self._error(*refusal)
        return 201, "application/sdp", *await self._open(body)

    async def _open(self, offer: str) -> tuple[str, list[tuple[bytes, bytes]]]:
        if self.script.answer is not None:
            return self.script.answer, []
        call = Call(self.script, f"session_{len(self.calls):032x}")
        self.calls.append(call)
        location = f"/v1/sessions/{call.session_id}".encode()
        return await call.answer(offer), [(b"location", location)]

    def _error(self, status: int, code: str) -> tuple[int, str, str, list[tuple[bytes, bytes]]]:
        body = ErrorBody.model_validate({"code": code, "message": "no", "request_id": "req_1"})
        retry = self.script.retry_after
        extra = [(b"retry-after", retry.encode())] if retry else []
        return status, "application/json", body.model_dump_json(), extra


@asynccontextmanager
async def scripted_gateway(script: Script, port: int = 0) -> AsyncIterator[ScriptedGateway]:
    """A gateway that listens on a free port of 127.0.0.1."""
    gateway = ScriptedGateway(script)
    config = uvicorn.Config(gateway, port=port, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # pytest's own stay
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    gateway.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield gateway
    finally:
        for call in gateway.calls:
            await call.close()
        server.should_exit = True
        await task
