"""Tools called by HTTP, against a server on a real socket, by TLS where it matters."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import trustme
from pydantic import SecretStr

from tests.servers.planted import found_in, planted
from tests.servers.tool_server import ToolServer
from workers.errors import ToolError
from workers.providers.base_url_allow import parse_allow
from workers.providers.tools.http_tool import HttpCall, call_http_tool, open_tool_client


@pytest.fixture
async def server() -> AsyncIterator[ToolServer]:
    async with ToolServer() as server:
        yield server


@pytest.fixture
async def client(server: ToolServer) -> AsyncIterator[httpx.AsyncClient]:
    async with open_tool_client(8, parse_allow(f"127.0.0.1:{server.port}")) as client:
        yield client


def call(url: str, method: str = "POST", **arguments: object) -> HttpCall:
    headers = (("Authorization", SecretStr("Bearer sk-tool")),)
    return HttpCall(url, method, headers, arguments, {"X-Edgewise-Call-Id": "call_1"})


async def test_arguments_and_headers_go_along_and_the_answer_comes_back(
    server: ToolServer, client: httpx.AsyncClient
) -> None:
    answer = await call_http_tool(client, call(server.url("/ok"), city="Bern", days=2), 5)
    assert answer == '{"sky": "blue"}'
    (request,) = server.requests
    assert (request.method, request.target, request.body) == (
        "POST",
        "/ok",
        {"city": "Bern", "days": 2},
    )
    assert request.headers["authorization"] == "Bearer sk-tool"
    assert request.headers["x-edgewise-call-id"] == "call_1"
    assert request.headers["content-type"] == "application/json"

    await call_http_tool(client, call(server.url("/ok"), "GET", city="Zürich &", days=[1, 2]), 5)
    request = server.requests[1]
    assert request.body is None
    assert request.target == "/ok?city=Z%C3%BCrich+%26&days=%5B1%2C+2%5D"
    assert "cookie" not in request.headers


@pytest.mark.parametrize(
    ("path", "message", "answer"),
    [
        ("/redirect", "status 307: redirects are not followed", ""),
        ("/500", "status 500", '{"detail": "out of order"}'),
        ("/image", "status 200, and the answer is neither text nor JSON", ""),
        ("/gzip", "the answer is compressed", ""),
        ("/reset", "the connection to the tool failed", ""),
        ("/slow", "no answer within 0.2 seconds", ""),
    ],
)
async def test_each_failure_is_told_and_holds_no_secret(
    server: ToolServer, client: httpx.AsyncClient, path: str, message: str, answer: str
) -> None:
    with pytest.raises(ToolError) as caught:
        await call_http_tool(client, call(server.url(path)), 0.2 if path == "/slow" else 5)
    assert (str(caught.value), caught.value.answer) == (message, answer)
    assert len(server.requests) == 1
    if path == "/slow":
        async with asyncio.timeout(5):
            await server.requests[0].closed.wait()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/long", "x" * 8_192 + "\n[cut off after 8 KiB]"),
        ("/latin", "Z\ufffdrich"),
        ("/empty", ""),
    ],
)
async def test_odd_answers_are_made_fit_for_the_model(
    server: ToolServer, client: httpx.AsyncClient, path: str, answer: str
) -> None:
    assert await call_http_tool(client, call(server.url(path)), 5) == answer


async def test_a_server_that_repeats_its_headers_tells_the_model_no_secret(
    server: ToolServer, client: httpx.AsyncClient
) -> None:
    secret = planted("header")
    headers = (("Authorization", SecretStr(f"Bearer {secret}")), ("X-Key", SecretStr("short")))
    said = HttpCall(server.url("/echo"), "GET", headers, {}, {})
    answer = await call_http_tool(client, said, 5)
    assert found_in(answer.encode()) == []
    assert "'authorization': '…'" in answer
    assert server.requests[0].headers["authorization"] == f"Bearer {secret}"


async def test_no_part_of_a_secret_is_left_where_an_answer_is_cut_off(
    server: ToolServer, client: httpx.AsyncClient
) -> None:
    headers = (("X-Key", SecretStr("s" * 400)), ("Authorization", SecretStr("Bearer tttttttt")))
    said = HttpCall(server.url("/echo-late"), "GET", headers, {}, {})
    answer = await call_http_tool(client, said, 5)
    assert answer == "…" + "x" * (8_190 - 9 * 400) + "…\n[cut off after 8 KiB]"


@pytest.mark.parametrize(("method", "value"), [("POST", float("inf")), ("GET", "\ud800")])
async def test_what_cannot_be_sent_is_told(
    server: ToolServer, client: httpx.AsyncClient, method: str, value: object
) -> None:
    with pytest.raises(ToolError, match="cannot be sent"):
        await call_http_tool(client, call(server.url("/ok"), method, a=value), 5)
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "https://10.0.0.1/", "http://169.254.169.254/", "https://a.lan/"]
)
async def test_what_is_not_allowed_is_not_dialled(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(ToolError) as caught:
        await call_http_tool(client, call(url), 5)
    assert str(caught.value) == "the tool's address is not allowed"


async def test_a_certificate_is_held_against_the_name_of_the_tool() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(served)
    async with ToolServer(served) as server:
        allow = parse_allow(f"localhost:{server.port}")
        url = f"https://localhost:{server.port}/ok"
        for trusted, is_fine in ((authority, True), (stranger, False)):
            trusting = ssl.create_default_context()
            trusted.configure_trust(trusting)
            async with open_tool_client(1, allow, verify=trusting) as client:
                if is_fine:
                    assert await call_http_tool(client, call(url), 5) == '{"sky": "blue"}'
                else:
                    with pytest.raises(ToolError):
                        await call_http_tool(client, call(url), 5)
        assert len(server.requests) == 1
