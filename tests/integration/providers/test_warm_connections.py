"""Connections that are kept warm: used again, bounded, replaced when the server has left."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from workers.llm_stub.server import LlmStub
from workers.providers.base_url_allow import parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.pinned_transport import PinnedTransport
from workers.providers.warm_connections import WarmConnections

MOST = 8
ALLOW = parse_allow("127.0.0.1")


@pytest.fixture
async def stub() -> AsyncIterator[LlmStub]:
    async with LlmStub() as stub:
        yield stub


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=MOST, keepalive_expiry=30)
    transport = PinnedTransport(BaseUrlPolicy(ALLOW), limits=limits)
    async with httpx.AsyncClient(transport=transport, timeout=5) as http:
        yield http


def pool(http: httpx.AsyncClient) -> WarmConnections:
    assert isinstance(http._transport, PinnedTransport)
    pool: object = http._transport._pool  # which httpx declares to be its own
    assert isinstance(pool, WarmConnections)
    return pool


async def ask(http: httpx.AsyncClient, stub: LlmStub, model: str = "stub") -> httpx.Response:
    body = {"model": model, "stream": True, "messages": []}
    return await http.post(f"{stub.base_url}/chat/completions", json=body)


async def test_the_connection_that_was_used_last_is_used_again(
    stub: LlmStub, http: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await asyncio.gather(*[ask(http, stub) for _ in range(MOST)])
        assert len(pool(http).connections) == MOST
    for _ in range(20):
        assert (await ask(http, stub)).status_code == 200
    assert len(pool(http).connections) == MOST


async def test_one_request_too_many_is_refused_at_once(
    stub: LlmStub, http: httpx.AsyncClient
) -> None:
    waiting = [asyncio.create_task(ask(http, stub, "stub-stall")) for _ in range(MOST)]
    await stub.wait_for_request(MOST)
    with pytest.raises(httpx.PoolTimeout):
        await ask(http, stub)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert pool(http).connections == []
    assert (await ask(http, stub)).status_code == 200
    async with asyncio.timeout(2):
        await asyncio.gather(*[request.closed.wait() for request in stub.requests])


async def test_a_stream_that_is_left_takes_its_connection_along(
    stub: LlmStub, http: httpx.AsyncClient
) -> None:
    body = {"model": "stub-story;rate=100", "stream": True, "messages": []}
    async with http.stream("POST", f"{stub.base_url}/chat/completions", json=body) as answer:
        await anext(answer.aiter_raw())
    assert pool(http).connections == []
    async with asyncio.timeout(2):
        await stub.requests[0].closed.wait()


async def test_a_connection_that_the_server_has_closed_is_not_used(http: httpx.AsyncClient) -> None:
    async with LlmStub() as stub:
        await asyncio.gather(*[ask(http, stub) for _ in range(3)])
        port = int(stub.base_url.split(":")[2].split("/")[0])
        await stub.hang_up()
        await stub.listen("127.0.0.1", port)
        assert (await ask(http, stub)).status_code == 200
        assert len(pool(http).connections) == 1


async def test_idle_connections_to_many_hosts_are_bounded(http: httpx.AsyncClient) -> None:
    stubs = [LlmStub() for _ in range(MOST + 4)]
    for stub in stubs:
        async with stub:
            assert (await ask(http, stub)).status_code == 200
        assert len(pool(http).connections) <= MOST
    await http.aclose()
    assert pool(http).connections == []


async def test_an_idle_connection_is_closed_in_time_without_another_request(
    stub: LlmStub,
) -> None:
    limits = httpx.Limits(max_connections=MOST, keepalive_expiry=0.2)
    transport = PinnedTransport(BaseUrlPolicy(ALLOW), limits=limits)
    async with httpx.AsyncClient(transport=transport, timeout=5) as http:
        for _ in range(2):
            await asyncio.gather(*[ask(http, stub) for _ in range(3)])
            async with asyncio.timeout(5):
                while pool(http).connections:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.01)


async def test_a_refused_connection_leaves_nothing(http: httpx.AsyncClient) -> None:
    async with LlmStub() as gone:
        pass
    with pytest.raises(httpx.ConnectError):
        await ask(http, gone)
    assert pool(http).connections == []
