"""Tool calls over a real socket, in the shapes that servers send them."""

import pytest

from schemas.chat import (
    ChatEvent,
    ChatRequest,
    Finished,
    Message,
    ToolCall,
    ToolCallPiece,
    ToolCalls,
    ToolOffer,
)
from tests.integration.providers.little_server import LittleServer
from tests.unit.providers.test_chat_tool_calls import CITY, SHAPES, TIME
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client

TOOLS = (ToolOffer("weather", "Tells it.", {"type": "object"}),)
REQUEST = ChatRequest((Message("user", "Hi"),), "session", "turn", 1, TOOLS)


async def ask(stream: bytes, budget: Budget) -> list[ChatEvent]:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(stream)}"
    async with (
        LittleServer(answer=head.encode() + b"\r\n\r\n" + stream) as server,
        open_client(budget, 1, parse_allow("127.0.0.1")) as http,
    ):
        endpoint = Endpoint(f"http://127.0.0.1:{server.port}/v1", "m")
        async with OpenAiChat(http, endpoint, budget).stream(REQUEST) as events:
            return [event async for event in events]


@pytest.mark.parametrize("chunks", SHAPES.values(), ids=SHAPES)
async def test_the_calls_come_out_whole_before_the_end(chunks: list[bytes]) -> None:
    *pieces, calls, end = await ask(b"".join(chunks) + b"data: [DONE]\n\n", Budget())
    assert calls == ToolCalls((ToolCall("a", "weather", CITY), ToolCall("b", "time", TIME)))
    assert isinstance(end, Finished)
    assert pieces
    assert {type(piece) for piece in pieces} == {ToolCallPiece}


async def test_calls_that_break_off_are_no_calls() -> None:
    with pytest.raises(ModelError) as caught:
        await ask(SHAPES["all in one, finished with stop"][0][:-40], Budget())
    assert caught.value.failure in ("incomplete", "empty", "bad_sse")
