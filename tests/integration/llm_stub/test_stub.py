"""The stub on a real socket: the public `openai` client works with it, faults are what they say."""

import asyncio
import contextlib
import io
import json
import re
import subprocess
import time
import wave
from collections.abc import AsyncIterator

import httpx
import numpy as np
import openai
import pytest

from tests.servers.system import clean_environment, command
from workers.llm_stub.chat import Pace
from workers.llm_stub.server import LlmStub

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture
async def stub() -> AsyncIterator[LlmStub]:
    async with LlmStub(say="One two three.", pace=Pace(keepalive_s=0.05)) as stub:
        yield stub


@pytest.fixture
async def client(stub: LlmStub) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=stub.base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(stub: LlmStub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stub.base_url, trust_env=False) as http:
        yield http


def ask(model: str, *, stream: bool = True, **more: object) -> dict[str, object]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        **more,
    }


async def test_the_openai_client_gets_a_reply_streamed_and_whole(
    client: openai.AsyncOpenAI,
) -> None:
    whole = await client.chat.completions.create(**ask("stub", stream=False))  # type: ignore[call-overload]  # typed by literals
    assert whole.choices[0].message.content == "One two three."
    assert whole.usage.completion_tokens == 3
    chunks = await client.chat.completions.create(  # type: ignore[call-overload]  # typed by literals
        **ask("stub-echo", stream_options={"include_usage": True})
    )
    said, usage = "", None
    async for chunk in chunks:
        said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    assert said.strip() == "You said: Hi."
    assert usage is not None
    assert usage.completion_tokens == 3


async def test_tools_are_called_and_their_answers_told(client: openai.AsyncOpenAI) -> None:
    for stream in (False, True):
        answer = await client.chat.completions.create(  # type: ignore[call-overload]  # typed by literals
            **ask("stub-tools", stream=stream, tools=[TOOL, TOOL])
        )
        if stream:
            deltas = [chunk.choices[0] async for chunk in answer]
            ids = [
                call.id for choice in deltas for call in choice.delta.tool_calls or () if call.id
            ]
            assert deltas[-1].finish_reason == "tool_calls"
        else:
            ids = [call.id for call in answer.choices[0].message.tool_calls]
        assert ids == ["call_stub_0", "call_stub_1"]


async def test_a_fault_comes_after_as_many_tokens_as_asked_for_however_short_the_text(
    http: httpx.AsyncClient, stub: LlmStub
) -> None:
    answer = await http.post("/chat/completions", json=ask("stub-close@40"))
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    said = [event["choices"][0]["delta"]["content"] for event in events][1:]
    assert len(said) == stub.requests[0].sent_tokens == 40
    assert "".join(said).startswith("One two three. This is sentence number 1 of a long story.")


async def test_models_are_listed_and_a_slip_is_no_model(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in await client.models.list()]
    assert {"stub", "stub-stall", "stub-gzip", "stub-tools"} <= set(names)
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(**ask("stub-stal"))  # type: ignore[call-overload]  # typed by literals


async def test_what_it_speaks_it_understands(client: openai.AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(
        model="stub", voice="ruby", input="Seven of clubs.", response_format="wav"
    )
    with wave.open(io.BytesIO(speech.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert np.abs(np.frombuffer(file.readframes(24_000), "<i2")).max() > 1_000
    heard = await client.audio.transcriptions.create(
        model="stub", file=("speech.wav", speech.content)
    )
    assert len(heard.text.split()) >= 2
    async with client.audio.speech.with_streaming_response.create(
        model="stub-odd", voice="x", input="Hello.", response_format="pcm"
    ) as pieces:
        assert len(b"".join([piece async for piece in pieces.iter_bytes()])) > 10_000


async def test_pieces_come_at_the_pace_of_the_name(stub: LlmStub, http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    answer = await http.post("/chat/completions", json=ask("stub;ttft=0.2;rate=20;tokens=5"))
    took = time.monotonic() - began
    assert answer.text.count('"content": "') == 1 + 5
    assert took >= 0.2 + 5 / 20
    (request,) = stub.requests
    assert request.first_token_at is not None
    assert request.first_token_at - request.arrived_at >= 0.2


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ("broken-json@1", r'"half\n\n$'),
        ("error@1", r'"code": "server_error"}}\n\n$'),
        ("close@2", r'"two "}, "finish_reason": null}\]}\n\n$'),
        ("only-done@1", r"data: \[DONE\]\n\n$"),
        ("no-done", r'"finish_reason": "stop"}\]}\n\n$'),
        ("stall@1;for=0.1", r"three.*\[DONE\]\n\n$"),
        ("broken-tool", r'"arguments": "{"}}\]}.*"tool_calls"}\]}\n\ndata: \[DONE\]\n\n$'),
    ],
)
async def test_a_stream_breaks_as_its_header_says(
    http: httpx.AsyncClient, script: str, body: str
) -> None:
    told = ask("gpt-4o", tools=[TOOL] if "tool" in script else [])
    answer = await http.post("/chat/completions", json=told, headers={"X-Stub": script})
    assert answer.status_code == 200
    assert re.search(body, answer.text, re.DOTALL), answer.text[-300:]


@pytest.mark.parametrize("stream", [True, False])
async def test_flaky_fails_once_whatever_was_asked_before(
    http: httpx.AsyncClient, *, stream: bool
) -> None:
    await http.get("/models")
    await http.post("/chat/completions", json=ask("stub"))
    told = ask("stub-flaky", stream=stream)
    statuses = [(await http.post("/chat/completions", json=told)).status_code for _ in range(3)]
    assert statuses == [503, 200, 200]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "tool",
    [
        {"function": None},
        {},
        5,
        {"function": {"name": "f", "parameters": {"properties": [1]}}},
        {"function": {"name": "f", "parameters": {"enum": {"a": 1}}}},
        {"function": {"name": "f", "parameters": {"required": 7}}},
    ],
)
async def test_tools_that_are_none_are_a_400(
    http: httpx.AsyncClient, tool: object, *, stream: bool
) -> None:
    told = ask("stub-tool", stream=stream, tools=[tool])
    answer = await http.post("/chat/completions", json=told)
    assert answer.status_code == 400
    assert "tools" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("script", "code"), [("error", "server_error"), ("error-429", 429)])
async def test_an_error_behind_a_200_is_json_where_nothing_is_streamed(
    http: httpx.AsyncClient, script: str, code: object
) -> None:
    answer = await http.post("/chat/completions", json=ask(f"stub-{script}", stream=False))
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("script", "status", "headers"),
    [
        ("401", 401, {}),
        ("429", 429, {}),
        ("429;retry=3", 429, {"retry-after": "3"}),
        ("redirect", 307, {"location": "/elsewhere"}),
        ("html", 200, {"content-type": "text/html"}),
        ("json", 200, {"content-type": "application/json"}),
    ],
)
async def test_a_status_is_the_scripts(
    http: httpx.AsyncClient, script: str, status: int, headers: dict[str, str]
) -> None:
    for path, body in (("/chat/completions", {}), ("/audio/speech", {"input": "Hi"})):
        answer = await http.post(path, json={"model": f"stub-{script}", **body})
        assert answer.status_code == status
        assert headers.items() <= dict(answer.headers).items()
        assert ("retry-after" in answer.headers) == ("retry-after" in headers)


async def test_a_gzip_bomb_is_small_and_unpacks_to_64_mb(http: httpx.AsyncClient) -> None:
    unpacked = packed = 0
    async with http.stream("POST", "/chat/completions", json=ask("stub-gzip")) as answer:
        async for piece in answer.aiter_bytes():
            unpacked += len(piece)
        packed = int(answer.headers["content-length"])
    assert packed < 400_000
    assert unpacked > 64_000_000


async def test_a_reset_a_stall_and_keepalives_are_seen_and_the_leaver_is_let_go(
    stub: LlmStub, http: httpx.AsyncClient
) -> None:
    with pytest.raises(httpx.ReadError):
        await http.post("/chat/completions", json=ask("stub-reset@1"))
    for script, seen in (("stall", ""), ("stall@1", "One "), ("keepalive@1", ": ping\n\n: ping")):
        text = ""
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(0.4),
                http.stream("POST", "/chat/completions", json=ask(f"stub-{script}")) as answer,
            ):
                async for piece in answer.aiter_text():
                    text += piece
                pytest.fail("the answer ended")
        assert seen in text
        async with asyncio.timeout(2):
            await stub.requests[-1].closed.wait()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
        + b"x" * 40_000_000,
        (
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
        ),
    ],
    ids=["no HTTP", "a list", "too long", "no form"],
)
async def test_a_request_that_is_none_is_refused(stub: LlmStub, sent: bytes) -> None:
    port = int(stub.base_url.rsplit(":")[-1].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    status = await asyncio.wait_for(reader.readline(), 5)
    assert status.split()[1] in (b"400", b"413")
    writer.close()


def test_the_command_says_where_it_listens_and_ends_at_a_signal() -> None:
    stub = subprocess.Popen(
        [command("edgewise"), "llm-stub", "--port", "0", "--json", "--say", "Good day."],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    )
    try:
        assert stub.stdout is not None
        told = json.loads(stub.stdout.readline())
        assert told["pid"] == stub.pid
        url = f"{told['url']}/chat/completions"
        answer = httpx.post(url, json=ask("any", stream=False), trust_env=False)
        assert answer.json()["choices"][0]["message"]["content"] == "Good day."
        stub.terminate()
        assert stub.wait(5) == 0
        assert stub.stdout.read() == ""
    finally:
        stub.kill()
        stub.wait()
