"""The chat client on real sockets: each fault has its class, ends in time and leaves nothing."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import psutil
import pytest
from pydantic import SecretStr

from schemas.chat import ChatEvent, ChatRequest, Content, Finished, Message, Used
from tests.servers.model_server import ModelServer
from tests.servers.stalls import Stalls
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.providers.chat_usage import SilentOnUsage
from workers.providers.pinned_transport import PinnedTransport

PATIENT = Budget(connect_s=5, first_token_s=10, between_tokens_s=10, total_s=20)
HASTY = Budget(connect_s=0.5, first_token_s=0.6, between_tokens_s=0.4, total_s=1.5)
"""For those who shall be too late."""
ALLOW = parse_allow("127.0.0.1")
REQUEST = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 2)
KEY = "sk-very-secret"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(say=" ".join(["word"] * 60)) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(HASTY, 20, ALLOW) as client:
        yield client


def chat(
    client: httpx.AsyncClient, base_url: str, model: str, budget: Budget = PATIENT
) -> OpenAiChat:
    return OpenAiChat(client, Endpoint(base_url, model, SecretStr(KEY)), budget)


async def read(chat: OpenAiChat, into: list[ChatEvent]) -> None:
    async with chat.stream(REQUEST) as events:
        async for event in events:
            into.append(event)  # noqa: PERF401  # what came before an error counts


BEFORE_ANY = {
    "stall": "timeout_first_token",
    "keepalive@0": "timeout_first_token",
    "role-only@0": "timeout_first_token",
    "blanks@0": "timeout_first_token",
    "reset@0": "disconnected",
    "close@0": "empty",
    "only-done@0": "empty",
    "broken-json@0": "bad_sse",
    "error@0": "http_5xx",
    "error-429@0": "http_429",
    "huge-line@0": "too_large",
    "huge-content@0": "too_large",
    "html": "bad_content_type",
    "json": "bad_content_type",
    "gzip": "bad_content_type",
    "401": "http_4xx",
    "404": "http_4xx",
    "429": "http_429",
    "500": "http_5xx",
    "redirect": "http_3xx",
}
LATER = {
    "stall": "timeout_inter_token",
    "keepalive": "timeout_inter_token",
    "role-only": "timeout_inter_token",
    "reset": "disconnected",
    "close": "incomplete",
    "only-done": "incomplete",
    "broken-json": "bad_sse",
    "error": "http_5xx",
    "huge-line": "too_large",
    "huge-content": "too_large",
}
CASES = [(model, failure, 0) for model, failure in BEFORE_ANY.items()]
CASES += [(f"{name}@{n}", failure, n) for name, failure in LATER.items() for n in (1, 40)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_a_fault_has_its_class_and_ends_in_time(
    server: ModelServer, client: httpx.AsyncClient, stalls: Stalls, case: tuple[str, str, int]
) -> None:
    model, failure, tokens = case
    memory, got = psutil.Process().memory_info().rss, list[ChatEvent]()
    budget = HASTY if failure.startswith("timeout") else PATIENT
    started = time.monotonic()
    with pytest.raises(ModelError) as caught:
        await read(chat(client, server.base_url, model, budget), got)
    ended = time.monotonic()

    assert caught.value.failure == failure
    assert stalls.seconds(started, ended) < HASTY.total_s + 0.5
    contents = sum(isinstance(event, Content) for event in got)
    assert contents >= tokens if "huge-content" in model else contents == tokens
    assert not any(isinstance(event, Finished) for event in got)
    assert "sk-" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert psutil.Process().memory_info().rss - memory < 20_000_000
    async with asyncio.timeout(2):
        await asyncio.gather(*[request.closed.wait() for request in server.requests])
    assert len(server.requests) == 1


async def test_a_reply_that_trickles_for_ever_ends_at_its_total(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    server.token_s, budget = 0.05, replace(PATIENT, total_s=1.5)
    with pytest.raises(ModelError) as caught:
        await read(chat(client, server.base_url, "story", budget), [])
    assert caught.value.failure == "timeout_total"


async def test_a_reply_without_done_after_its_finish_is_whole(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    got: list[ChatEvent] = []
    await read(chat(client, server.base_url, "no-done"), got)
    assert got[-2:] == [Finished("stop"), Used(1, 60)]


async def test_an_endpoint_that_refuses_to_count_answers_all_the_same(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    server.say = "one two"
    silent = SilentOnUsage()
    endpoint = Endpoint(server.base_url, "no-usage")
    for _ in range(3):
        got: list[ChatEvent] = []
        await read(OpenAiChat(client, endpoint, PATIENT, silent), got)
        assert [event.text for event in got if isinstance(event, Content)] == ["one ", "two "]
        assert got[-1] == Finished("stop")
    asked = ["stream_options" in request.body for request in server.requests]
    assert asked == [True, False, False, False]


async def test_a_request_that_is_refused_without_the_count_too_has_its_class(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    silent = SilentOnUsage()
    with pytest.raises(ModelError) as caught:
        await read(OpenAiChat(client, Endpoint(server.base_url, "400"), PATIENT, silent), [])
    assert (caught.value.failure, caught.value.status_code) == ("http_4xx", 400)
    assert len(server.requests) == 2
    assert (server.base_url, "400") not in silent


async def test_nobody_listening_is_a_class_of_its_own(client: httpx.AsyncClient) -> None:
    async with ModelServer() as gone:
        base_url = gone.base_url
    with pytest.raises(ModelError) as caught:
        await read(chat(client, base_url, "say"), [])
    assert caught.value.failure == "disconnected"


async def test_a_server_that_does_not_take_the_connection_is_a_timeout_to_connect(
    client: httpx.AsyncClient, stalls: Stalls
) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        started = time.monotonic()
        with pytest.raises(ModelError) as caught:
            await read(chat(client, base_url, "say", HASTY), [])
    assert caught.value.failure in ("timeout_connect", "timeout_first_token")
    assert stalls.seconds(started, time.monotonic()) < HASTY.connect_s + 0.2


async def test_the_request_says_who_asks_and_wants_a_plain_stream(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    await read(chat(client, server.base_url + "/", "say"), [])
    (request,) = server.requests
    assert request.body == {
        "model": "say",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    sent = request.headers
    assert sent["x-edgewise-session-id"] == "session_1"
    assert sent["x-edgewise-turn-id"] == "turn_1"
    assert sent["x-edgewise-attempt"] == "2"
    assert sent["accept-encoding"] == "identity"
    assert sent["authorization"] == f"Bearer {KEY}"


async def test_leaving_the_stream_closes_it_within_100_ms(
    server: ModelServer, client: httpx.AsyncClient, stalls: Stalls
) -> None:
    server.token_s = 0.01
    async with chat(client, server.base_url, "story").stream(REQUEST) as events:
        await anext(aiter(events))
        left_at = time.monotonic()
    (request,) = server.requests
    async with asyncio.timeout(2):
        await request.closed.wait()
    assert request.closed_at is not None
    assert stalls.seconds(left_at, request.closed_at) < 0.1


async def test_cancelling_the_reader_closes_the_stream_within_100_ms(
    server: ModelServer, client: httpx.AsyncClient, stalls: Stalls
) -> None:
    reading = asyncio.create_task(read(chat(client, server.base_url, "stall"), []))
    request = await server.wait_for_request()
    cancelled_at = time.monotonic()
    reading.cancel()
    async with asyncio.timeout(2):
        await request.closed.wait()
    assert request.closed_at is not None
    assert stalls.seconds(cancelled_at, request.closed_at) < 0.1
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_finished_stream_leaves_its_connection_warm(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await read(chat(client, server.base_url, "say"), [])
    assert isinstance(client._transport, PinnedTransport)
    assert len(client._transport._pool.connections) == 1


async def test_a_slow_reader_is_no_stall_of_the_model(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    server.say = "one two three"
    got: list[ChatEvent] = []
    loop = asyncio.get_running_loop()
    async with chat(client, server.base_url, "say", HASTY).stream(REQUEST) as events:
        async for event in events:
            got.append(event)
            # Longer than the time between tokens allows, but it is the reader's own.
            waited = loop.create_future()
            loop.call_later(HASTY.between_tokens_s + 0.05, waited.set_result, None)
            await waited
    assert got[-2] == Finished("stop")
