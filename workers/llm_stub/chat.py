"""`POST /v1/chat/completions`: streamed or whole, with tools, paced, or broken as scripted."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from workers.llm_stub.exchange import Exchange, Request
from workers.llm_stub.faults import (
    IN_BAND,
    KEEPALIVE_S,
    WHOLE,
    answer_wrongly,
    break_stream,
    delta_event,
    in_band_error,
    refuse,
    stall,
)
from workers.llm_stub.replies import Calls, UnreadableToolsError, calls_of, pieces_of
from workers.llm_stub.script import STATUSES, Script

HARMLESS: Final = frozenset({"no-done", "flaky", "no-usage", "broken-tool"})
"""Faults that let a plain reply come to its end."""
UNAVAILABLE: Final = STATUSES["503"]
LONGEST_WHOLE: Final = 10_000
"""Tokens of a reply that is not streamed, where the script has no end."""

Tokens = Callable[[Request, Script], Iterator[str]]


@dataclass
class Pace:
    """How fast the stub is where a script does not say, in seconds."""

    ttft_s: float = 0.0
    token_s: float = 0.0
    keepalive_s: float = KEEPALIVE_S


class Metronome:
    """Waits for the moment of each token: the delays of some do not add up."""

    def __init__(self, script: Script, pace: Pace) -> None:
        self._due = time.monotonic() + (pace.ttft_s if script.ttft is None else script.ttft)
        self._script = script
        self._pace = pace

    async def beat(self) -> None:
        """Wait until the next token is due."""
        left = self._due - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        rate = self._script.rate
        self._due += self._pace.token_s if rate is None else (1 / rate if rate else 0.0)


async def complete(exchange: Exchange, tokens: Tokens, pace: Pace, *, is_first: bool) -> None:
    """Answer a chat request; `is_first` is for what goes wrong only once."""
    script = exchange.script
    try:
        calls = calls_of(exchange.request, script)
    except UnreadableToolsError as error:
        await exchange.error(STATUSES["400"], str(error))
        return
    if script.name in WHOLE:
        await answer_wrongly(exchange)
    elif script.name == "flaky" and is_first:
        await refuse(exchange, UNAVAILABLE)
    elif script.name == "no-usage" and "stream_options" in exchange.request.body:
        await refuse(exchange, STATUSES["400"])
    elif script.name == "stall" and script.after is None:
        await stall(exchange)
    elif exchange.request.body.get("stream"):
        await _stream(exchange, tokens, calls, pace)
    else:
        await _whole(exchange, tokens, calls, pace)


async def _stream(exchange: Exchange, tokens: Tokens, calls: Calls, pace: Pace) -> None:
    request, script = exchange.request, exchange.script
    metronome = Metronome(script, pace)
    await exchange.begin("text/event-stream; charset=utf-8")
    await exchange.event(delta_event({"role": "assistant", "content": ""}))
    breaks = script.is_fault and script.name not in HARMLESS
    said = tokens(request, script)
    if calls:
        said = itertools.islice(said, script.after or 0)
    for number, token in enumerate(said):
        if (
            breaks
            and number == (script.after or 0)
            and not await break_stream(exchange, pace.keepalive_s)
        ):
            return
        await metronome.beat()
        request.first_token_at = request.first_token_at or time.monotonic()
        said_now = f"Sent at {time.monotonic_ns()}. " if script.name == "clock" else token
        await exchange.event(delta_event({"content": said_now}))
        request.sent_tokens += 1
    for number, call in enumerate(calls):
        for piece in pieces_of(call, number, broken=script.name == "broken-tool"):
            await metronome.beat()
            await exchange.event(delta_event({"tool_calls": [piece]}))
    await metronome.beat()
    await exchange.event(delta_event({}, "tool_calls" if calls else "stop"))
    if _wants_usage(request):
        await exchange.event(delta_event(None, usage=_usage(request)))
    if script.name != "no-done":
        await exchange.event("[DONE]")
    await exchange.end()


async def _whole(exchange: Exchange, tokens: Tokens, calls: Calls, pace: Pace) -> None:
    request, script = exchange.request, exchange.script
    if script.name in IN_BAND:
        await exchange.json(in_band_error(script.name))
        return
    if script.is_fault and script.name not in HARMLESS:
        await exchange.begin("application/json")
        await exchange.piece(b'{"choices": [')
        await break_stream(exchange, pace.keepalive_s)
        return
    said = [] if calls else list(itertools.islice(tokens(request, script), LONGEST_WHOLE))
    metronome = Metronome(script, pace)
    for _ in said:
        await metronome.beat()
        request.sent_tokens += 1
    message = {"role": "assistant", "content": None if calls else "".join(said).strip()}
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    if calls:
        choice["message"] = {**message, "tool_calls": calls}
    head = {"id": "chatcmpl-stub", "object": "chat.completion", "created": 0, "model": "stub"}
    await exchange.json({**head, "choices": [choice], "usage": _usage(request)})


def _wants_usage(request: Request) -> bool:
    options = request.body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def _usage(request: Request) -> dict[str, int]:
    """Count words as tokens; a model would count otherwise."""
    asked = sum(len(str(message.get("content") or "").split()) for message in request.messages)
    said = request.sent_tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
