"""What a turn may expect of a language model; run on the fake and on the real client."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import pytest

from schemas.chat import ChatRequest, Content, Finished, Message, Used
from tests.fakes.turns import FakeChat
from tests.servers.model_server import ModelServer
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.turns.ports import Chat

ALLOW = parse_allow("127.0.0.1")
REQUEST = ChatRequest((Message("user", "Hi"),), "session", "turn", 1)


class Make(Protocol):
    """Make a model that says these words, or breaks off after them."""

    def __call__(self, words: str, *, breaks_off: bool = False) -> Chat: ...


@dataclass
class Model:
    make: Make


@pytest.fixture(params=["fake", "http"])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[Model]:
    if request.param == "fake":
        yield Model(_fake)
        return
    async with ModelServer() as server, open_client(Budget(), 10, ALLOW) as client:

        def make(words: str, *, breaks_off: bool = False) -> Chat:
            server.say = words
            count = len(words.split(" "))
            server.script = f"close@{count - 1}" if breaks_off else "say"
            return OpenAiChat(client, Endpoint(server.base_url, "any"), Budget())

        yield Model(make)


def _fake(words: str, *, breaks_off: bool = False) -> Chat:
    tokens = [word + " " for word in words.split(" ")]
    error = ModelError("incomplete", "scripted", retryable=True)
    return FakeChat(*tokens, error=error) if breaks_off else FakeChat(*tokens)


async def test_content_comes_in_order_and_the_end_is_told_once(model: Model) -> None:
    async with model.make("One two three.").stream(REQUEST) as events:
        got = [event async for event in events]
    assert "".join(e.text for e in got if isinstance(e, Content)).strip() == "One two three."
    assert [event for event in got if not isinstance(event, Content | Used)] == [Finished("stop")]
    assert not isinstance(got[-1], Content)


async def test_a_reply_that_breaks_off_is_a_model_error_after_its_content(model: Model) -> None:
    got: list[object] = []
    async with model.make("One two three", breaks_off=True).stream(REQUEST) as events:
        with pytest.raises(ModelError) as caught:
            await _read(events, got)
    assert caught.value.failure == "incomplete"
    assert got


async def test_a_stream_may_be_left_before_its_end(model: Model) -> None:
    chat = model.make("One two three.")
    async with asyncio.timeout(5):
        for _ in range(3):
            async with chat.stream(REQUEST) as events:
                assert isinstance(await anext(aiter(events)), Content)


async def _read(events: AsyncIterator[object], into: list[object]) -> None:
    async for event in events:
        into.append(event)  # noqa: PERF401  # what came before the error counts
