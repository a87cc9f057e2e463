"""Many streamed completions at once, over warm connections, with the time of what arrives."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bench.figure import NotMeasuredError

TOKEN: Final = b'"content": "w'
"""What every token of the scripted model's reply holds, and nothing else does."""
END: Final = b"\r\n0\r\n\r\n"
ANSWER_S: Final = 120.0


@dataclass(frozen=True)
class Timed:
    """One stream: seconds from its request to the first token and to the end."""

    first_s: float
    whole_s: float


class StreamReader:
    """Connections to one server, each of which asks for one stream at a time."""

    def __init__(self, base_url: str, model: str, key: str) -> None:
        parts = urlsplit(base_url)
        self._address = parts.hostname or "", parts.port or 0
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "system", "content": "SAY: word"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        self._request = (
            f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self._connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls, base_url: str, model: str, key: str, count: int
    ) -> AsyncIterator["StreamReader"]:
        """Open so many connections."""
        reader = cls(base_url, model, key)
        try:
            for _ in range(count):
                reader._connections.append(await asyncio.open_connection(*reader._address))
            yield reader
        finally:
            for _, writer in reader._connections:
                writer.close()

    async def burst(self, tokens: int) -> list[Timed]:
        """Ask on every connection at the same instant; NotMeasuredError unless all is told."""
        async with asyncio.timeout(ANSWER_S):
            streams = (self._stream(*each, tokens) for each in self._connections)
            return list(await asyncio.gather(*streams))

    async def keep_asking(self, tokens: int, times: int, stream_s: float) -> list[Timed]:
        """Ask on every connection so many times, with the starts spread over `stream_s` seconds.

        Returns all but the first of each, which began before all the others were under way.
        """

        async def ask(number: int) -> list[Timed]:
            await asyncio.sleep(stream_s * number / len(self._connections))
            streams = self._connections[number]
            return [await self._stream(*streams, tokens) for _ in range(times)][1:]

        async with asyncio.timeout(ANSWER_S):
            asked = await asyncio.gather(*map(ask, range(len(self._connections))))
        return [each for streams in asked for each in streams]

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tokens: int
    ) -> Timed:
        began = time.perf_counter()
        first = 0.0
        told, rest = 0, b""
        writer.write(self._request)
        while not rest.endswith(END):
            chunk = await reader.read(65_536)
            if not chunk:
                raise NotMeasuredError("a stream broke off")
            window = rest[-len(TOKEN) + 1 :] + chunk
            told += window.count(TOKEN)
            first = first or (time.perf_counter() if told else 0.0)
            rest = (rest + chunk)[-64:]
        if told != tokens:
            raise NotMeasuredError(f"a stream held {told} tokens, not {tokens}")
        return Timed(first - began, time.perf_counter() - began)
