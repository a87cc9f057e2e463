"""Words and a fault in one read, behind which the endpoint says nothing and stays there."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpcore
import httpx
import pytest

from schemas.chat import ChatRequest, Content, Message
from workers.errors import ModelError
from workers.llm_gateway.answers import LiveStream
from workers.llm_gateway.models_file import Route, Upstream
from workers.providers.chat import Budget, Endpoint, OpenAiChat
from workers.providers.warm_connections import WarmConnections

PATIENT = Budget(connect_s=60, first_token_s=60, between_tokens_s=60, total_s=60)
HEADERS = {"Content-Type": "text/event-stream"}
BASE_URL = "http://127.0.0.1/v1"


def said(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


async def reads() -> AsyncIterator[bytes]:
    yield said("Hello.")
    yield said(" Goodbye.") + b'data: {"error": {"message": "sk-secret", "code": 503}}\n\n'
    await asyncio.Event().wait()


class Connections:
    """Connections on which every request has this answer."""

    async def handle_async_request(self, _request: httpcore.Request) -> httpcore.Response:
        return httpcore.Response(200, headers=_encoded(HEADERS), content=reads())


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def test_the_words_are_said_and_the_reply_fails_at_once() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=HEADERS, content=reads())

    texts = []
    async with asyncio.timeout(5), httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        chat = OpenAiChat(http, Endpoint(BASE_URL, "m", None), PATIENT)
        request = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 1)

        async def read() -> None:
            async with chat.stream(request) as events:
                async for event in events:
                    assert isinstance(event, Content)
                    texts.append(event.text)

        with pytest.raises(ModelError) as caught:
            await read()
    assert texts == ["Hello.", " Goodbye."]
    assert caught.value.status_code == 503


async def test_the_words_are_passed_on_and_the_error_is_the_last_event() -> None:
    connections = cast("WarmConnections", Connections())
    upstream = Upstream(base_url=BASE_URL, model="m", between_tokens_s=60, total_s=60)
    route = Route(name="m", upstream=upstream)
    async with asyncio.timeout(5):
        stream = await LiveStream.open(connections, route, {"messages": []}, {}, within_s=60)
        pieces = [piece async for piece in stream.pieces()]
        await stream.aclose()
    assert pieces[:-1] == [said("Hello."), said(" Goodbye.")]
    assert json.loads(pieces[-1].removeprefix(b"data: "))["error"]["code"] == "upstream_http_5xx"
    assert stream.outcome == "failed"
