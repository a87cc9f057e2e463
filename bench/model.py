"""An OpenAI-compatible model that answers at once, with what the system prompt tells it to say."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "SAY: "
"""An agent whose system prompt holds this mark gets what stands behind it as its reply."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LONGEST_REQUEST = 1_000_000


@contextmanager
def instant_model() -> Iterator[str]:
    """Serve the model on a free port from a thread of its own; yield its base URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, name="instant model", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            messages = await _messages(reader)
            for piece in _response(_reply(messages)):
                writer.write(piece)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _messages(reader: asyncio.StreamReader) -> list[dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    body = json.loads(await reader.readexactly(min(length, LONGEST_REQUEST)))
    messages: list[dict[str, str]] = body["messages"]
    return messages


def _reply(messages: list[dict[str, str]]) -> str:
    prompts = (message["content"] for message in messages if message["role"] == "system")
    told = "".join(prompts).partition(MARK)[2]
    return told or "All right."


def _response(reply: str) -> Iterator[bytes]:
    yield HEAD
    for word in reply.split(" "):
        yield _chunk({"delta": {"content": f"{word} "}, "index": 0, "finish_reason": None})
    yield _chunk({"delta": {}, "index": 0, "finish_reason": "stop"})
    yield _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(choice: dict[str, object]) -> bytes:
    event = {
        "id": "bench",
        "object": "chat.completion.chunk",
        "model": "bench",
        "choices": [choice],
    }
    return _framed(b"data: " + json.dumps(event).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
