"""One request, and the means of answering it well or badly: bytes straight to the socket."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from workers.llm_stub.script import Script

RESET_DELAY_S: Final = 0.05
"""A reset takes what is not read yet along, so what was sent before gets a moment."""


@dataclass
class Request:
    """A request that came in, and what became of its connection."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any] = field(default_factory=dict)
    """The JSON object, or the fields of a form."""
    file: bytes = b""
    """The file of a form."""
    arrived_at: float = field(default_factory=time.monotonic)
    sent_tokens: int = 0
    first_token_at: float | None = None
    closed_at: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation of a chat request, as far as it has the right form."""
        found = self.body.get("messages")
        return [m for m in found if isinstance(m, dict)] if isinstance(found, list) else []

    @property
    def said(self) -> str:
        """The last message of the user."""
        users = [m.get("content") for m in self.messages if m.get("role") == "user"]
        return str(users[-1] or "") if users else ""


class Exchange:
    """A request, its script, and the socket that the answer goes to."""

    def __init__(self, request: Request, script: Script, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.script = script
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def begin(
        self, kind: str, status: int = HTTPStatus.OK, *, more: Mapping[str, str] | None = None
    ) -> None:
        """Send the head of an answer in chunks."""
        await self._head(status, {"Content-Type": kind, "Transfer-Encoding": "chunked"}, more)

    async def piece(self, data: bytes) -> None:
        """Send a chunk."""
        if data:
            await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, data: str) -> None:
        """Send a server-sent event in a chunk of its own."""
        await self.piece(f"data: {data}\n\n".encode())

    async def end(self) -> None:
        """End an answer in chunks."""
        await self.send(b"0\r\n\r\n")

    async def whole(
        self,
        kind: str,
        body: bytes,
        status: int = HTTPStatus.OK,
        *,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Send an answer whose length is known."""
        await self._head(status, {"Content-Type": kind, "Content-Length": str(len(body))}, more)
        await self.send(body)

    async def json(self, value: object, status: int = HTTPStatus.OK) -> None:
        """Send a JSON answer."""
        await self.whole("application/json", json.dumps(value).encode(), status)

    async def error(self, status: int, message: str, code: str | None = None) -> None:
        """Send an error in OpenAI's shape."""
        told = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        await self.json({"error": told}, status)

    async def reset(self) -> None:
        """Reset the connection; raises ConnectionResetError, as nothing more can be sent."""
        await asyncio.sleep(RESET_DELAY_S)
        connection = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()
        raise ConnectionResetError

    async def _head(
        self, status: int, headers: Mapping[str, str], more: Mapping[str, str] | None
    ) -> None:
        lines = [f"{name}: {value}" for name, value in {**headers, **(more or {})}.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *lines])
        await self.send(f"{head}\r\n\r\n".encode("latin-1"))
