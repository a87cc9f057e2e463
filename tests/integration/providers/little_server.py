"""A server of few words on a real socket: it notes who comes and answers the same to all."""

import asyncio
import contextlib
import ssl
from typing import Any, Self

import trustme

TOLD = b'data: {"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": null}]}'
ENDED = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
REPLY = b"\n\n".join((TOLD, ENDED, b"data: [DONE]", b""))
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%s" % (
    len(REPLY),
    REPLY,
)


def redirect(where: str) -> bytes:
    """Return a 307 to another place."""
    return f"HTTP/1.1 307 Go\r\nlocation: {where}\r\ncontent-length: 0\r\n\r\n".encode()


class LittleServer:
    """Listens on a free port of 127.0.0.1; use it with `async with`."""

    def __init__(
        self,
        *,
        certificate: trustme.LeafCert | ssl.SSLContext | None = None,
        answer: bytes = STREAM,
        is_mute: bool = False,
        greets: bool = False,
    ) -> None:
        self.connections = 0
        self.heads: list[str] = []
        self.names: list[str | None] = []
        """The names that TLS clients asked for (SNI)."""
        self._answer = answer
        self._is_mute = is_mute
        self._greets = greets
        self._tls = self._context(certificate)
        self._tasks: set[asyncio.Task[Any]] = set()

    def _context(
        self, certificate: trustme.LeafCert | ssl.SSLContext | None
    ) -> ssl.SSLContext | None:
        if certificate is None:
            return None
        if isinstance(certificate, ssl.SSLContext):
            context = certificate
        else:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        return context

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._greets:
            writer.write(self._answer)
        while True:
            if self._is_mute:
                await reader.read()
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            lengths = [
                line.partition(":")[2]
                for line in head.lower().split("\r\n")
                if line.startswith("content-length:")
            ]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            writer.write(self._answer)
            await writer.drain()
            if "connection: close" in head.lower():
                return
