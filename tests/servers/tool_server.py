"""A tool's HTTP server on a real socket: it notes each request and answers by the path."""

import asyncio
import contextlib
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Self

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
_ANSWERS: dict[str, tuple[Any, ...]] = {
    "/redirect": (307, TEXT, b"", "Location: /ok"),
    "/500": (500, JSON, b'{"detail": "out of order"}'),
    "/image": (200, "image/png", b"\x89PNG"),
    "/latin": (200, TEXT, b"Z\xfcrich"),
    "/gzip": (200, TEXT, b"\x1f\x8b", "Content-Encoding: gzip"),
    "/long": (200, TEXT, b"x" * 9_216),
}


@dataclass
class ToolRequest:
    """A request that came in, and when its connection was seen to be closed."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any
    arrived_at: float
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class ToolServer:
    """Answers `/ok` at once, `/slow` never, `/held` once `go` is set; use it with `async with`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[ToolRequest] = []
        self.go = asyncio.Event()
        self._tls = tls
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def wait_for_request(self, number: int = 1, timeout_s: float = 10) -> ToolRequest:
        """Wait until that many requests came in; return that one."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
                await self._answer_one(reader, writer)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = head[0].split(" ")
        request = ToolRequest(
            method, target, headers, json.loads(body) if body else None, time.monotonic()
        )
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        path = target.partition("?")[0]
        if path in ("/slow", "/held"):
            watching = asyncio.create_task(reader.read(1))
            going = asyncio.create_task(self._go(path))
            try:
                await asyncio.wait({watching, going}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (watching, going):
                    task.cancel()
                request.closed.set()
            if not going.done():
                return
        said = {
            "/echo": repr(headers),
            "/echo-late": (headers.get("x-key", "") * 9).ljust(8_190, "x") * 2,
        }
        writer.write(_whole(200, TEXT, said[path].encode()) if path in said else _answer(path))
        await writer.drain()

    async def _go(self, path: str) -> None:
        await (asyncio.Event() if path == "/slow" else self.go).wait()


def _answer(path: str) -> bytes:
    if path == "/reset":
        return b""
    if path == "/empty":
        return b"HTTP/1.1 204 None\r\nSet-Cookie: a=b\r\n\r\n"
    return _whole(*_ANSWERS.get(path, (200, JSON, b'{"sky": "blue"}', "Set-Cookie: a=b; Path=/")))


def _whole(status: int, kind: str, body: bytes, *more: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status} Scripted",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
