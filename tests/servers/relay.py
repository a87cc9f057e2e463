"""A network in between that can be cut: what is under way waits, no connection is closed."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Passes TCP connections on to the server of a URL; use it with `async with`."""

    def __init__(self, base_url: str) -> None:
        self._there = urlsplit(base_url)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}{self._there.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.mend()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def mend(self) -> None:
        """Let all through, what waited first."""
        self._open.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        there = await asyncio.open_connection(self._there.hostname, self._there.port)
        try:
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, there[1]):
                with contextlib.suppress(OSError):
                    end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        await self._open.wait()
        raise ConnectionResetError
