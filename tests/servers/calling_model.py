"""A chat endpoint on a real socket that calls the tools it is told to, then speaks."""

import asyncio
import contextlib
import json
from typing import Any, Self


class CallingModel:
    """Answers the user with `calls`, and their results with `say`; use it with `async with`."""

    def __init__(self) -> None:
        self.say = "Done."
        self.calls: list[tuple[str, str]] = []
        """Names and arguments, as the model would write them."""
        self.requests: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def results(self) -> list[str]:
        """What the last request told of tools."""
        return [m["content"] for m in self.requests[-1]["messages"] if m["role"] == "tool"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        self.requests.append(json.loads(await reader.readexactly(length)))
        is_asked = self.requests[-1]["messages"][-1]["role"] == "user"
        calls = self.calls if is_asked else []
        deltas = [
            {"index": n, "id": f"c{n}", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(calls)
        ]
        chunks: list[dict[str, Any]] = [{"tool_calls": [delta]} for delta in deltas]
        lines = [_event(chunk) for chunk in chunks or [{"content": self.say}]]
        body = "".join([*lines, _event({}, "tool_calls" if calls else "stop"), "data: [DONE]\n\n"])
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            + f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        )
        await writer.drain()


def _event(delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"
