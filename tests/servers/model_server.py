"""A scripted OpenAI-compatible chat endpoint on a real socket; faults by the model's name.

`echo` answers "You said: …", `say` what the server was told to say, `story` sentence after
sentence without end. A fault is a name of FAULTS, with `@N` after N tokens of the reply.
`python -m tests.servers.model_server` serves alone and prints its base URL.
"""

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

BIG = 64 * 1024 * 1024
STATUSES = {"401": 401, "404": 404, "429": 429, "500": 500, "503": 503, "redirect": 307}
FAULTS = (
    "stall",
    "keepalive",
    "reset",
    "close",
    "no-done",
    "broken-json",
    "error",
    "error-429",
    "only-done",
    "html",
    "json",
    "gzip",
    "huge-line",
    "huge-content",
    "flaky",
    "role-only",
    *STATUSES,
)


@dataclass
class Request:
    """A request that came in, and what became of its connection."""

    headers: dict[str, str]
    body: dict[str, Any]
    arrived_at: float
    sent_tokens: int = 0
    first_token_at: float | None = None
    closed_at: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def said(self) -> str:
        """The last message of the user."""
        users = [m["content"] for m in self.body["messages"] if m["role"] == "user"]
        return users[-1] if users else ""


class ModelServer:
    """Answers `POST /v1/chat/completions`; use it with `async with`."""

    def __init__(self, *, say: str = "Hello there.", token_s: float = 0.0) -> None:
        self.say = say
        self.token_s = token_s
        self.script: str | None = None
        """Stands in for the model's name, where the asker's is fixed."""
        self.requests: list[Request] = []
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def wait_for_request(self, number: int = 1, timeout_s: float = 10) -> Request:
        """Wait until that many requests came in; return that one."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _read_request(reader)
        if request is None:
            return False
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        watching = asyncio.create_task(reader.read(1))
        answering = asyncio.create_task(self._answer(request, writer))
        try:
            await asyncio.wait({watching, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():  # the client has hung up
                return False
            answering.result()
            # A connection that is used again: what was peeked at would be lost.
            if watching.done():
                return False
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            return not writer.is_closing()
        finally:
            request.closed_at = time.monotonic()
            request.closed.set()
            answering.cancel()
            watching.cancel()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        script = self.script or str(request.body.get("model", ""))
        name, _, after = script.partition("@")
        if name in STATUSES:
            await _status(writer, STATUSES[name])
        elif name == "flaky" and len(self.requests) == 1:
            await _status(writer, 503)
        elif name in ("html", "json", "gzip"):
            await _whole(writer, name)
        elif name == "stall" and not after:
            await asyncio.Event().wait()
        else:
            await self._stream(request, writer, name, int(after or 0))

    async def _stream(
        self, request: Request, writer: asyncio.StreamWriter, name: str, after: int
    ) -> None:
        await _head(writer, 200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
        await _event(writer, _chunk({"role": "assistant"}))
        for number, token in enumerate(self._tokens(request, name)):
            if name in FAULTS and number == after and name not in ("no-done", "flaky"):
                await _fault(writer, name)
                return
            request.first_token_at = request.first_token_at or time.monotonic()
            await _event(writer, _chunk({"content": token}))
            request.sent_tokens += 1
            if self.token_s:
                await asyncio.sleep(self.token_s)
        await _event(writer, _chunk({}, "stop"))
        if name != "no-done":
            await _event(writer, "[DONE]")
        await _send(writer, b"0\r\n\r\n")

    def _tokens(self, request: Request, name: str) -> Iterator[str]:
        if name == "story":
            return (
                token
                for number in itertools.count(1)
                for token in ("This is sentence", f" number {number}", " of a long story. ")
            )
        text = f"You said: {request.said}." if name == "echo" else self.say
        return (word + " " for word in text.split(" "))


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = head.split("\r\n")[1:-2]
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(headers, json.loads(body or b"{}"), time.monotonic())


def _chunk(delta: dict[str, str], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]})


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _raw(writer: asyncio.StreamWriter, data: bytes) -> None:
    await _send(writer, f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _event(writer: asyncio.StreamWriter, data: str) -> None:
    await _raw(writer, f"data: {data}\n\n".encode())


async def _head(writer: asyncio.StreamWriter, status: int, kind: str, *more: str) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}", *more]
    await _send(writer, ("\r\n".join(lines) + "\r\n\r\n").encode())


async def _status(writer: asyncio.StreamWriter, status: int) -> None:
    body = b'{"error": {"message": "scripted: the key sk-secret is not welcome"}}'
    more = ["Location: /elsewhere"] if status == STATUSES["redirect"] else []
    await _head(writer, status, "application/json", f"Content-Length: {len(body)}", *more)
    await _send(writer, body)


async def _whole(writer: asyncio.StreamWriter, name: str) -> None:
    """Answer 200 with what is no event stream, or is one in disguise."""
    kinds = {"html": "text/html", "json": "application/json", "gzip": "text/event-stream"}
    bodies = {"html": b"<html>sign in</html>", "json": b'{"choices": []}', "gzip": b""}
    body = gzip.compress(b"data: x\n\n" * 1000) if name == "gzip" else bodies[name]
    more = ["Content-Encoding: gzip"] if name == "gzip" else []
    await _head(writer, 200, kinds[name], f"Content-Length: {len(body)}", *more)
    await _send(writer, body)


async def _fault(writer: asyncio.StreamWriter, name: str) -> None:
    """Do what the name says, in the middle of the stream."""
    if name == "stall":
        await asyncio.Event().wait()
    while name in ("keepalive", "role-only"):
        await _raw(writer, b": ping\n\n")
        if name == "role-only":
            await _event(writer, _chunk({"role": "assistant"}))
        await asyncio.sleep(0.1)
    if name == "broken-json":
        await _event(writer, '{"choices": [{"delta": {"content": "half')
    if name in ("error", "error-429"):
        code = 429 if name == "error-429" else "server_error"
        await _event(writer, json.dumps({"error": {"message": "sk-secret", "code": code}}))
    if name == "only-done":
        await _event(writer, "[DONE]")
    if name == "reset":
        await asyncio.sleep(0.05)  # a reset takes what is not read yet along
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        raise ConnectionResetError
    async for piece in _endless(name):
        await _raw(writer, piece)
    await _send(writer, b"0\r\n\r\n")


async def _endless(name: str) -> AsyncIterator[bytes]:
    """Yield a line of 64 MB, or content without end."""
    if name == "huge-line":
        yield b"data: "
        for _ in range(BIG // 65_536):
            yield b"x" * 65_536
    if name == "huge-content":
        for _ in range(BIG // 65_536):
            yield b"data: " + _chunk({"content": "word " * 10_000}).encode() + b"\n\n"


async def _serve_alone() -> None:
    async with ModelServer() as server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_alone())
