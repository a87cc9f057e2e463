"""What goes wrong, as bytes: whole answers that are none, and streams that break."""

import asyncio
import functools
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any, Final

from workers.llm_stub.exchange import Exchange
from workers.llm_stub.script import STATUSES

BIG: Final = 64 * 1024 * 1024
PIECE: Final = 64 * 1024
SENTENCE: Final = 50
"""Bytes of a sentence of content without end, about."""
CHAPTER: Final = 1_000
"""Sentences of it in one event."""
KEEPALIVE_S: Final = 1.0
SECRET: Final = "sk-secret"  # noqa: S105  # no secret: what a client must not repeat
WHOLE: Final = frozenset({"html", "json", "gzip", *STATUSES})
"""Faults in place of an answer."""
IN_BAND: Final = frozenset({"error", "error-429"})
"""Errors behind a status 200."""


def delta_event(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> str:
    """Return the data of a `chat.completion.chunk`; None is one without choices."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {
        "id": "chatcmpl-stub",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "stub",
        "choices": [] if delta is None else [choice],
    }
    return json.dumps({**chunk, **more})


async def answer_wrongly(exchange: Exchange) -> None:
    """Answer with the status, or the 200, that the script names."""
    name = exchange.script.name
    match name:
        case "html":
            await exchange.whole("text/html", b"<html>sign in</html>")
        case "json":
            await exchange.whole("application/json", b'{"choices": []}')
        case "gzip":
            zipped = {"Content-Encoding": "gzip"}
            await exchange.whole("text/event-stream", gzip_bomb(), more=zipped)
        case _:
            await refuse(exchange, STATUSES[name])


async def refuse(exchange: Exchange, status: int) -> None:
    """Answer with an error status, and `Retry-After` where the script has one."""
    error = {"error": {"message": f"scripted: the key {SECRET} is not welcome", "code": None}}
    more = {"Location": "/elsewhere"} if status == STATUSES["redirect"] else {}
    if exchange.script.retry is not None:
        more["Retry-After"] = str(exchange.script.retry)
    await exchange.whole("application/json", json.dumps(error).encode(), status, more=more)


async def break_stream(exchange: Exchange, keepalive_s: float) -> bool:
    """Do what the script says, in the middle of a stream; True if the reply goes on after it."""
    name = exchange.script.name
    if name == "stall":
        await stall(exchange)
        return True
    while name in ("keepalive", "role-only", "blanks"):
        await exchange.piece(b": ping\n\n")
        if name != "keepalive":
            said = {"role": "assistant"} if name == "role-only" else {"content": " "}
            await exchange.event(delta_event(said))
        await asyncio.sleep(keepalive_s)
    match name:
        case "broken-json":
            await exchange.event('{"choices": [{"delta": {"content": "half')
        case "error" | "error-429":
            await exchange.event(json.dumps(in_band_error(name)))
        case "only-done":
            await exchange.event("[DONE]")
        case "reset":
            await exchange.reset()
        case "huge-line" | "huge-content":
            for piece in _endless(name):
                await exchange.piece(piece)
    await exchange.end()
    return False


def in_band_error(name: str) -> dict[str, Any]:
    """Return the error that comes behind a status 200."""
    code = 429 if name == "error-429" else "server_error"
    return {"error": {"message": SECRET, "code": code}}


async def stall(exchange: Exchange) -> None:
    """Say nothing for as long as the script says, or for ever."""
    if exchange.script.lasts is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(exchange.script.lasts)


def _endless(name: str) -> Iterator[bytes]:
    if name == "huge-line":
        yield b"data: "
        for _ in range(BIG // PIECE):
            yield b"x" * PIECE
    else:
        numbers = itertools.count()
        for _ in range(BIG // (CHAPTER * SENTENCE)):
            told = (f"Sentence number {n} tells of {7 * n} more. " for n in numbers)
            content = "".join(itertools.islice(told, CHAPTER))
            yield f"data: {delta_event({'content': content})}\n\n".encode()


@functools.cache
def gzip_bomb() -> bytes:
    """Return a gzip of 64 MB of one event."""
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    pieces = [packer.compress(b"data: ")]
    pieces += [packer.compress(b"x" * PIECE) for _ in range(BIG // PIECE)]
    return b"".join([*pieces, packer.flush()])
