"""The endpoint as a client of OpenAI's API sees it."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import ConfigurationError
from workers.llm_gateway.app import create_app
from workers.llm_gateway.wire import pieces
from workers.settings import Settings

KEY = "test-key-0123456789"
NOW = datetime(2026, 11, 22, 19, 5)  # noqa: DTZ001  # the wall clock of the speaker


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    app = create_app(Settings(_env_file=None, home=tmp_path, api_key=KEY), clock=lambda: NOW)
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://x/v1", headers=headers) as client,
    ):
        yield client


def ask(text: Any, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]
    return {"model": "edgewise-offline", "messages": messages, **fields}


def events(answer: Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_whole_answer_is_one_object(client: AsyncClient) -> None:
    answer = (await client.post("/chat/completions", json=ask("what is two plus two"))).json()
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "That is 4."}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


async def test_a_stream_has_the_role_then_word_by_word_then_the_end(client: AsyncClient) -> None:
    answer = await client.post("/chat/completions", json=ask("what time is it", stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    deltas = [event["choices"][0] for event in events(answer)]
    assert [choice["delta"] for choice in deltas] == [
        {"role": "assistant", "content": ""},
        {"content": "It"},
        {"content": " is"},
        {"content": " 7:05"},
        {"content": " PM."},
        {},
    ]
    assert [choice["finish_reason"] for choice in deltas] == [None] * 5 + ["stop"]


async def test_usage_comes_last_and_only_when_asked_for(client: AsyncClient) -> None:
    asked = ask("hello", stream=True, stream_options={"include_usage": True})
    last = events(await client.post("/chat/completions", json=asked))[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0
    plain = events(await client.post("/chat/completions", json=ask("hello", stream=True)))
    assert all("usage" not in event for event in plain)


async def test_messages_in_parts_and_unknown_fields_are_understood(client: AsyncClient) -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "text", "text": "1 + 1"}]
    asked = ask(parts, temperature=0.2, tools=[], user="me")
    answer = (await client.post("/chat/completions", json=asked)).json()
    assert answer["choices"][0]["message"]["content"] == "That is 2."


async def test_nulls_where_the_api_lists_them_are_as_if_nothing_was_said(
    client: AsyncClient,
) -> None:
    parts = [{"type": "image_url", "text": None}, {"type": "text", "text": "what is 1 + 1"}]
    asked = ask(parts, stream=None, stream_options=None, fallbacks=None, temperature=None)
    answer = (await client.post("/chat/completions", json=asked)).json()
    assert answer["choices"][0]["message"]["content"] == "That is 2."
    streamed = ask("hello", stream=True, stream_options={"include_usage": None})
    assert all(
        "usage" not in event
        for event in events(await client.post("/chat/completions", json=streamed))
    )


@pytest.mark.parametrize("told", ["false", "true", 1, 0])
async def test_what_is_no_boolean_is_refused_as_the_upstream_would_read_it_otherwise(
    client: AsyncClient, told: object
) -> None:
    for field in ({"stream": told}, {"stream_options": {"include_usage": told}}):
        answer = await client.post("/chat/completions", json=ask("hello", **field))
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].split(".")[0] in field


async def test_the_last_words_of_the_user_count(client: AsyncClient) -> None:
    asked = ask("what is 1 + 1")
    asked["messages"] += [
        {"role": "assistant", "content": "That is 2."},
        {"role": "user", "content": "repeat after me so long"},
        {"role": "assistant", "content": None},
    ]
    answer = (await client.post("/chat/completions", json=asked)).json()
    assert answer["choices"][0]["message"]["content"] == "so long"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"{}", 400, "model"),
        (b'{"model": "edgewise-offline"}', 400, "messages"),
        (b'{"model": "edgewise-offline", "messages": []}', 400, "messages"),
        (b'{"model": "edgewise-offline", "messages": [{"role": "x"}]}', 400, "messages.0"),
        (b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}', 404, "model"),
    ],
)
async def test_errors_have_the_shape_of_openai(
    client: AsyncClient, body: bytes, status: int, param: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/chat/completions", content=body, headers=headers)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer wrong", "wrong"])
async def test_without_the_key_there_is_a_401(client: AsyncClient, key: str) -> None:
    for method, path in (("GET", "/models"), ("POST", "/chat/completions")):
        answer = await client.request(method, path, headers={"Authorization": key})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_the_models_are_listed(client: AsyncClient) -> None:
    listed = (await client.get("/models")).json()
    assert [model["id"] for model in listed["data"]] == ["edgewise-offline"]
    assert (await client.get("/models/edgewise-offline")).json() == listed["data"][0]
    assert (await client.get("/models/gpt")).status_code == 404


async def test_a_path_that_is_not_there_is_a_404_of_that_shape(client: AsyncClient) -> None:
    assert set((await client.get("/nothing")).json()) == {"error"}


async def test_a_body_over_the_limit_is_a_413(client: AsyncClient) -> None:
    answer = await client.post("/chat/completions", json=ask("x" * 5_000_000))
    assert answer.status_code == 413


def test_without_a_key_to_check_against_it_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="EDGEWISE_API_KEY"):
        create_app(Settings(_env_file=None, api_key=None))


@given(st.text())
def test_the_pieces_join_to_the_very_same_text(text: str) -> None:
    assert "".join(pieces(text)) == text
