"""An OpenAI-compatible upstream on a real socket; what it does goes by the model's name."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SECRET = "sk-upstream-secret"
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
STATUSES = {"400": 400, "401": 401, "404": 404, "429": 429, "500": 500, "503": 503, "307": 307}
SAID: dict[str, tuple[str, ...]] = {"speechless": ()}
CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": ""},
}


@dataclass
class Asked:
    """A request that came in, and when its connection ended."""

    headers: dict[str, str]
    body: dict[str, Any]
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    closed_at: float = 0.0


class ScriptedUpstream:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.arrived = asyncio.Event()
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        asked = Asked(dict(request.headers), await request.json())
        self.asked.append(asked)
        self.arrived.set()
        model = asked.body["model"]
        if model in STATUSES:
            error = {"error": {"message": f"no: {SECRET}", "code": SECRET}}
            headers = {"Retry-After": "7", "Location": "/elsewhere"}
            return JSONResponse(error, STATUSES[model], headers=headers)
        if model == "html":
            return Response(f"<html>{SECRET}</html>", media_type="text/html")
        if model == "in-band":
            return JSONResponse({"error": {"message": SECRET}})
        if not asked.body.get("stream"):
            return await self._whole(request, asked, model)
        return _Watched(_events(asked.body, model), asked)

    async def _whole(self, request: Request, asked: Asked, model: str) -> Response:
        while model == "silent":
            if (await request.receive())["type"] == "http.disconnect":
                _close(asked)
                return Response()
        said: dict[str, object] = {"role": "assistant", "content": "Hello there."}
        if model == "tools":
            said |= {"content": None, "tool_calls": [_call("{}")]}
        if model == "speechless":
            said["content"] = " "
        choice = {"index": 0, "message": said, "finish_reason": "stop", "logprobs": None}
        body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "real-model"}
        usage = {} if model == "uncounted" else {"usage": USAGE}
        choices = [] if model == "no-choices" else [choice]
        return JSONResponse({**body, "choices": choices, **usage})


def _close(asked: Asked) -> None:
    asked.closed_at = time.monotonic()
    asked.closed.set()


class _Watched(StreamingResponse):
    def __init__(self, events: AsyncIterator[bytes], asked: Asked) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._asked = asked

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            _close(self._asked)


def _call(arguments: str) -> dict[str, Any]:
    return {**CALL, "function": {"name": "get_weather", "arguments": arguments}}


def _event(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "real-model"}
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    body = {**head, "choices": [] if delta is None else [choice], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


async def _events(body: dict[str, Any], model: str) -> AsyncIterator[bytes]:
    yield _event({"role": "assistant", "content": ""}, usage=None)
    while model == "silent":
        yield b": keep-alive\n\n"
        await asyncio.sleep(0.1)
    if model == "begun-and-broken":
        return
    if model == "tools":
        yield _event({"tool_calls": [_call("")]})
        for piece in ('{"city":', ' "Oslo"}'):
            yield _event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield _event({}, "tool_calls")
    else:
        for word in SAID.get(model, ("Hello", " there", ".")):
            yield _event({"content": word}, usage=None)
        while model == "endless":
            yield _event({"content": " more"})
            await asyncio.sleep(0.005)
        if model == "fails-late":
            yield f'data: {{"error": {{"message": "{SECRET}", "code": 503}}}}\n\n'.encode()
            return
        if model == "breaks-off":
            return
        yield _event({}, "stop")
    if (body.get("stream_options") or {}).get("include_usage") and model != "uncounted":
        yield _event(None, usage=USAGE)
    yield b"data: [DONE]\n\n"
