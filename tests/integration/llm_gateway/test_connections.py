"""What the gateway's own connections to its upstreams do at their bound."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from workers.errors import ModelError
from workers.llm_gateway.answers import LiveStream
from workers.llm_gateway.models_file import Route, Upstream
from workers.llm_stub.server import LlmStub
from workers.providers.warm_connections import WarmConnections

MOST = 3
ASKED = {"messages": [], "stream": True}


@pytest.fixture
async def stub() -> AsyncIterator[LlmStub]:
    async with LlmStub() as stub:
        yield stub


@pytest.fixture
async def connections() -> AsyncIterator[WarmConnections]:
    context = httpx.create_ssl_context(trust_env=False)
    async with WarmConnections(verify=context, most=MOST, warm_s=30) as connections:
        yield connections


def route(stub: LlmStub, model: str) -> Route:
    return Route(name=model, upstream=Upstream(base_url=stub.base_url, model=model))


async def opened(connections: WarmConnections, stub: LlmStub, model: str = "stub") -> LiveStream:
    return await LiveStream.open(connections, route(stub, model), ASKED, {}, within_s=30)


async def test_one_stream_too_many_is_busy_and_a_stream_read_to_its_end_makes_room(
    connections: WarmConnections, stub: LlmStub
) -> None:
    streams = [await opened(connections, stub) for _ in range(MOST)]
    with pytest.raises(ModelError) as caught:
        await opened(connections, stub)
    assert caught.value.failure == "busy"
    for stream in streams:
        assert [piece async for piece in stream.pieces()][-1] == b"data: [DONE]\n\n"
        await stream.aclose()
    kept = set(connections.connections)
    assert len(kept) == MOST
    again = await opened(connections, stub)
    assert set(connections.connections) == kept
    await again.aclose()


async def test_a_caller_who_leaves_takes_the_upstreams_connection_along(
    connections: WarmConnections, stub: LlmStub
) -> None:
    waiting = asyncio.create_task(opened(connections, stub, "stub-stall"))
    talking = await opened(connections, stub, "stub-story;rate=100")
    await stub.wait_for_request(2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await talking.aclose()
    async with asyncio.timeout(10):
        await asyncio.gather(*[request.closed.wait() for request in stub.requests])
    assert connections.connections == []
