"""The public `openai` package works against the gateway as it is."""

import time
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.integration.llm_gateway.scripted_upstream import SECRET, ScriptedUpstream

ASKED: Any = [{"role": "user", "content": "repeat after me hello there"}]
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}


async def streamed(client: AsyncOpenAI, model: str, **more: Any) -> list[Any]:
    stream = await client.chat.completions.create(model=model, messages=ASKED, stream=True, **more)
    return [chunk async for chunk in stream]


def text(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_a_stream_comes_word_by_word(client: AsyncOpenAI) -> None:
    chunks = await streamed(client, "plain")
    assert text(chunks) == "Hello there."
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_is_streamed_to_who_asks_for_it(client: AsyncOpenAI) -> None:
    chunks = await streamed(client, "plain", stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 16


async def test_a_whole_answer_has_text_and_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="plain", messages=ASKED)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.usage
    assert answer.usage.total_tokens == 16


async def test_tools_and_unknown_parameters_go_through(
    client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    more: Any = {"tools": [TOOL], "temperature": 0.2, "extra_body": {"top_k": 7, "x": {"y": [1]}}}
    chunks = await streamed(client, "tools", **more)
    pieces = [call for c in chunks for call in (c.choices[0].delta.tool_calls or [])]
    assert pieces[0].function.name == "get_weather"
    assert "".join(piece.function.arguments for piece in pieces) == '{"city": "Oslo"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    whole = await client.chat.completions.create(
        model="tools", messages=ASKED, tools=[TOOL], temperature=0.2
    )
    assert whole.choices[0].message.tool_calls
    body = upstream.asked[0].body
    assert body["tools"] == [TOOL]
    assert (body["temperature"], body["top_k"], body["x"]) == (0.2, 7, {"y": [1]})
    assert upstream.asked[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_the_built_in_responder_is_there_as_well(client: AsyncOpenAI) -> None:
    assert text(await streamed(client, "edgewise-offline")) == "hello there"


async def test_the_models_are_listed_and_described(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed[0] == "edgewise-offline"
    assert {"plain", "eu/plain"} <= set(listed)
    described = await client.models.retrieve("eu/plain")
    assert described.model_dump()["region"] == "eu"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("400", openai.BadRequestError, 400),
        ("401", openai.InternalServerError, 502),
        ("404", openai.InternalServerError, 502),
        ("307", openai.InternalServerError, 502),
        ("429", openai.RateLimitError, 429),
        ("500", openai.InternalServerError, 502),
        ("503", openai.InternalServerError, 503),
        ("html", openai.InternalServerError, 502),
        ("in-band", openai.InternalServerError, 502),
        ("speechless", openai.InternalServerError, 502),
        ("nobody", openai.InternalServerError, 502),
        ("unheard-of", openai.NotFoundError, 404),
    ],
)
async def test_a_failure_has_a_status_and_none_of_the_upstreams_words(
    client: AsyncOpenAI, model: str, error: type[openai.APIStatusError], status: int, stream: object
) -> None:
    with pytest.raises(error) as raised:
        await client.chat.completions.create(model=model, messages=ASKED, stream=bool(stream))
    assert raised.value.status_code == status
    assert SECRET not in raised.value.response.text
    assert isinstance(raised.value.body, dict)
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    if status == 429:
        assert raised.value.response.headers["retry-after"] == "7"


async def test_a_wrong_key_is_an_authentication_error(gateway_url: str) -> None:
    async with AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="plain", messages=ASKED)


@pytest.mark.parametrize("model", ["fails-late", "breaks-off"])
async def test_a_failure_in_mid_stream_is_raised_after_what_came(
    client: AsyncOpenAI, model: str
) -> None:
    chunks: list[Any] = []
    stream = await client.chat.completions.create(model=model, messages=ASKED, stream=True)

    async def read() -> None:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401  # what came before the error counts

    with pytest.raises(openai.APIError) as raised:
        await read()
    assert text(chunks) == "Hello there."
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "broken", ["500", "nobody", "html", "begun-and-broken", "silent", "speechless"]
)
async def test_a_fallback_answers_where_nothing_was_said_yet(
    client: AsyncOpenAI, broken: str
) -> None:
    began = time.monotonic()
    raw = await client.chat.completions.with_raw_response.create(
        model=broken,
        messages=ASKED,
        stream=True,
        extra_body={"fallbacks": [{"model": "503"}, {"model": "eu/plain"}, {"model": "tools"}]},
    )
    assert time.monotonic() - began < 3.0
    assert raw.headers["x-edgewise-model"] == "eu/plain"
    assert raw.headers["x-edgewise-region"] == "eu"
    assert text([chunk async for chunk in raw.parse()]) == "Hello there."


async def test_no_fallback_answers_once_something_was_said(
    client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(openai.APIError):
        await streamed(client, "breaks-off", extra_body={"fallbacks": [{"model": "plain"}]})
    assert [asked.body["model"] for asked in upstream.asked] == ["breaks-off"]


@pytest.mark.parametrize("broken", ["500", "speechless", "no-choices"])
async def test_a_whole_answer_has_fallbacks_too_and_the_built_in_one_may_be_last(
    client: AsyncOpenAI, upstream: ScriptedUpstream, broken: str
) -> None:
    answer = await client.chat.completions.create(
        model=broken,
        messages=ASKED,
        extra_body={"fallbacks": [{"model": "html"}, {"model": "edgewise-offline"}]},
    )
    assert answer.choices[0].message.content == "hello there"
    assert all("fallbacks" not in asked.body for asked in upstream.asked)


async def test_a_model_need_not_add_a_word_to_what_a_tool_has_done(client: AsyncOpenAI) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    asked: Any = [
        *ASKED,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]
    for stream in (True, False):
        raw = await client.chat.completions.with_raw_response.create(
            model="speechless",
            messages=asked,
            stream=stream,
            extra_body={"fallbacks": [{"model": "plain"}]},
        )
        assert raw.headers["x-edgewise-model"] == "speechless"
        await raw.http_response.aread()


async def test_a_model_that_only_keeps_alive_is_a_timeout(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        await streamed(client, "hasty")
    assert raised.value.status_code == 504
