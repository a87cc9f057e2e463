"""Whatever an upstream does, the caller hears of it in time and nothing is left behind."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import trustme

from tests.integration.providers.little_server import LittleServer
from tests.servers.certificates import certificate
from tests.servers.model_server import ModelServer
from tests.servers.stalls import Stalls
from workers.errors import ModelError
from workers.llm_gateway.answers import LiveStream, Whole
from workers.llm_gateway.models_file import Route, Upstream
from workers.llm_gateway.wire import DONE
from workers.providers.warm_connections import WarmConnections

MOST = 3
FIRST_S, BETWEEN_S, TOTAL_S = 0.6, 0.4, 10.0
AT_ONCE_S = 3.0
"""No fault that shows by itself takes longer, however long the budget."""
MEMORY = 20_000_000
ASKED = {"messages": [], "stream": True}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(say=" ".join(["word"] * 60)) as server:
        yield server


@pytest.fixture
async def connections() -> AsyncIterator[WarmConnections]:
    context = httpx.create_ssl_context(trust_env=False)
    async with WarmConnections(verify=context, most=MOST, warm_s=30) as connections:
        yield connections


def route(base_url: str, model: str) -> Route:
    upstream = Upstream(base_url=base_url, model=model, between_tokens_s=BETWEEN_S, total_s=TOTAL_S)
    return Route(name=model, upstream=upstream)


async def opened(
    connections: WarmConnections, server: ModelServer, model: str, within_s: float = 30
) -> LiveStream:
    return await LiveStream.open(
        connections, route(server.base_url, model), ASKED, {}, within_s=within_s
    )


async def all_ended(server: ModelServer, connections: WarmConnections) -> None:
    """Wait until no request is under way; what is left may only be kept warm."""
    async with asyncio.timeout(10):
        await asyncio.gather(*[request.closed.wait() for request in server.requests])
    assert all(connection.is_idle() for connection in connections.connections)


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
    "html": "bad_content_type",
    "json": "bad_content_type",
    "gzip": "bad_content_type",
    "401": "http_4xx",
    "429": "http_429",
    "500": "http_5xx",
    "redirect": "http_3xx",
}


@pytest.mark.parametrize("fault", BEFORE_ANY)
async def test_a_fault_before_the_first_content_has_its_class(
    server: ModelServer, connections: WarmConnections, stalls: Stalls, fault: str
) -> None:
    failure = BEFORE_ANY[fault]
    within_s = FIRST_S if failure.startswith("timeout") else TOTAL_S
    memory, started = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(ModelError) as caught:
        await opened(connections, server, f"stub-{fault}", within_s)
    assert stalls.seconds(started, time.monotonic()) < AT_ONCE_S
    assert caught.value.failure == failure
    assert "sk-" not in str(caught.value)
    assert psutil.Process().memory_info().rss - memory < MEMORY
    await all_ended(server, connections)


@pytest.mark.parametrize(
    ("fault", "failure"), [("json", "empty"), ("error", "http_5xx"), ("error-429", "http_429")]
)
async def test_a_whole_answer_without_words_has_its_class(
    server: ModelServer, connections: WarmConnections, fault: str, failure: str
) -> None:
    asked = route(server.base_url, f"stub-{fault}")
    with pytest.raises(ModelError) as caught:
        await Whole.of_upstream(connections, asked, {"messages": []}, {})
    assert caught.value.failure == failure
    await all_ended(server, connections)


LATER = {
    "stall": "timeout_inter_token",
    "keepalive": "timeout_inter_token",
    "reset": "disconnected",
    "close": "incomplete",
    "only-done": "incomplete",
    "broken-json": "incomplete",  # once begun, an event of no note is passed on as it is
    "error": "http_5xx",
    "huge-line": "too_large",
    "huge-content": "too_large",
}


@pytest.mark.parametrize("after", [1, 40])
@pytest.mark.parametrize("fault", LATER)
async def test_a_fault_in_mid_stream_is_its_last_event(
    server: ModelServer, connections: WarmConnections, stalls: Stalls, fault: str, after: int
) -> None:
    memory, started = psutil.Process().memory_info().rss, time.monotonic()
    stream = await opened(connections, server, f"stub-{fault}@{after}")
    passed_on, last = 0, b""
    async for piece in stream.pieces():
        passed_on += piece.count(b'"content": "word ')
        last = piece
    await stream.aclose()
    assert stalls.seconds(started, time.monotonic()) < AT_ONCE_S
    assert stream.outcome == "failed"
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == f"upstream_{LATER[fault]}"
    assert "sk-" not in error["message"]
    assert passed_on >= after
    assert psutil.Process().memory_info().rss - memory < MEMORY
    await all_ended(server, connections)


async def test_an_end_without_done_is_an_end(
    server: ModelServer, connections: WarmConnections
) -> None:
    stream = await opened(connections, server, "stub-no-done")
    assert [piece async for piece in stream.pieces()][-1] == DONE
    assert stream.outcome == "ok"
    await stream.aclose()
    assert len(connections.connections) == 1


async def test_one_stream_too_many_is_busy_and_a_stream_read_to_its_end_makes_room(
    server: ModelServer, connections: WarmConnections
) -> None:
    streams = [await opened(connections, server, "stub") for _ in range(MOST)]
    with pytest.raises(ModelError) as caught:
        await opened(connections, server, "stub")
    assert caught.value.failure == "busy"
    for stream in streams:
        assert [piece async for piece in stream.pieces()][-1] == DONE
        await stream.aclose()
    kept = set(connections.connections)
    assert len(kept) == MOST
    again = await opened(connections, server, "stub")
    assert set(connections.connections) == kept
    await again.aclose()


async def test_a_caller_who_leaves_takes_the_upstreams_connection_along(
    server: ModelServer, connections: WarmConnections
) -> None:
    waiting = asyncio.create_task(opened(connections, server, "stub-stall"))
    talking = await opened(connections, server, "stub-story;rate=100")
    await server.wait_for_request(2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await talking.aclose()
    await all_ended(server, connections)
    assert connections.connections == []


@pytest.mark.parametrize("fault", [None, "wrong name", "expired", "self-signed"])
async def test_a_certificate_that_proves_nothing_has_its_class_and_no_key_is_sent(
    tmp_path: Path, fault: str | None
) -> None:
    host, authority, trusting = "localhost", trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    right = authority.issue_cert(host)
    shown = certificate(fault, host, authority, tmp_path) if fault else right
    async with (
        LittleServer(certificate=shown) as server,
        WarmConnections(verify=trusting, most=MOST, warm_s=30) as connections,
    ):
        asked = route(f"https://{host}:{server.port}/v1", "any")
        if fault is None:
            stream = await LiveStream.open(connections, asked, ASKED, {}, within_s=30)
            assert [piece async for piece in stream.pieces()][-1] == DONE
            await stream.aclose()
            return
        with pytest.raises(ModelError) as streamed:
            await LiveStream.open(connections, asked, ASKED, {}, within_s=30)
        with pytest.raises(ModelError) as whole:
            await Whole.of_upstream(connections, asked, {"messages": []}, {})
    assert (streamed.value.failure, whole.value.failure) == ("tls", "tls")
    assert server.heads == []


async def test_an_address_that_the_library_cannot_read_is_no_connection(
    connections: WarmConnections,
) -> None:
    asked = Route(
        name="odd", upstream=Upstream.model_construct(base_url="http://h:abc/v1", model="m")
    )
    with pytest.raises(ModelError) as caught:
        await Whole.of_upstream(connections, asked, {"messages": []}, {})
    assert caught.value.failure == "disconnected"
