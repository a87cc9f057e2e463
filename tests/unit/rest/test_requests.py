"""What surrounds every REST route: ids, errors in one shape, bounds on the body, the key."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pytest
import structlog
from fastapi import FastAPI, Query, Request
from httpx import ASGITransport, AsyncClient
from starlette.types import Message

from schemas.agent import MAX_ENTRIES, AgentCreate
from schemas.error import ErrorBody
from tests.fakes.keys import KeysInADict
from workers.errors import StorageUnavailableError
from workers.gateway.auth import GuardedRoute
from workers.gateway.rest_errors import ApiError, add_error_handlers, crash_response
from workers.web.body_limit import BodyLimit
from workers.web.key_ring import KeyRing
from workers.web.request_log import RequestLog

KEY = "test-key-0123456789"
PLANTED = "sk-planted-8f3a"


def application() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.state.keys = KeyRing(KEY, KeysInADict().look_up, ThreadPoolExecutor(1))
    app.router.route_class = GuardedRoute
    add_error_handlers(app)

    @app.post("/agents")
    async def take(agent: AgentCreate) -> dict[str, str]:
        return {"name": agent.name}

    @app.get("/number")
    async def number(n: Annotated[int, Query(ge=1)]) -> int:
        return n

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/crash")
    async def crash() -> None:
        raise ValueError(PLANTED)

    @app.get("/away")
    async def away() -> None:
        raise StorageUnavailableError("the database: OperationalError")

    @app.get("/refused")
    async def refused() -> None:
        raise ApiError(404, "agent_not_found", "there is no such agent", "agent_id")

    app.add_middleware(BodyLimit, limit=1_000, arrive_s=0.2)
    app.add_middleware(RequestLog, on_crash=crash_response)
    return app


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = ASGITransport(application())
    async with AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
        yield client


def agent(**fields: object) -> dict[str, object]:
    return {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}, **fields}


@pytest.mark.parametrize("header", [KEY, f"Bearer {KEY}", f"bearer  {KEY}", f" {KEY} "])
async def test_the_key_opens_with_and_without_its_scheme(client: AsyncClient, header: str) -> None:
    answer = await client.get("/number?n=3", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (200, 3)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "missing_authorization"),
        ("Bearer ", "missing_authorization"),
        ("Bearer", "missing_authorization"),
        ("Bearer wrong", "unauthorized"),
        (KEY[:-1], "unauthorized"),
        (f"{KEY}0", "unauthorized"),
        (f"Basic {KEY}", "unauthorized"),
        ("Bearer kéy", "unauthorized"),
    ],
)
async def test_without_the_right_key_there_is_a_401(
    client: AsyncClient, header: str, code: str
) -> None:
    sent = header.encode("latin-1")
    answer = await client.get("/number?n=3", headers={b"Authorization": sent})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_key_is_asked_for_before_the_body_is_judged(client: AsyncClient) -> None:
    answer = await client.post("/agents", content=b"{", headers={"Authorization": "no"})
    assert answer.status_code == 401


async def test_each_error_has_the_one_shape_and_the_id_of_its_request(client: AsyncClient) -> None:
    wanted = {
        ("GET", "/nothing"): (404, "not_found"),
        ("PATCH", "/agents"): (405, "method_not_allowed"),
        ("GET", "/number?n=0"): (422, "validation_error"),
        ("GET", "/refused"): (404, "agent_not_found"),
        ("GET", "/away"): (503, "unavailable"),
        ("GET", "/crash"): (500, "internal_error"),
        ("POST", "/agents"): (422, "validation_error"),
    }
    for (method, path), (status, code) in wanted.items():
        answer = await client.request(method, path)
        body = ErrorBody.model_validate_json(answer.content)
        assert (answer.status_code, body.code) == (status, code)
        assert body.request_id == answer.headers["x-request-id"]
        assert body.errors


async def test_a_sane_request_id_is_taken_over_and_another_is_replaced(client: AsyncClient) -> None:
    for given, kept in (("trace-1.a_b", True), ("x" * 65, False), ("a b", False), ("", False)):
        answer = await client.get("/number?n=1", headers={"X-Request-Id": given})
        assert (answer.headers["x-request-id"] == given) is kept


async def test_a_503_says_when_to_try_again(client: AsyncClient) -> None:
    assert int((await client.get("/away")).headers["retry-after"]) > 0


async def test_an_invalid_body_is_named_field_by_field_and_never_echoed(
    client: AsyncClient,
) -> None:
    body = agent(
        name="",
        voice={"voice_id": PLANTED},
        llm=[{"base_url": "https://x", "api_key": f"{PLANTED} {PLANTED}", PLANTED: PLANTED}],
        input={"turn_detection": {"vad_threshold": PLANTED}},
        greeting=[PLANTED],
    )
    body[PLANTED] = PLANTED
    answer = await client.post("/agents", json=body)
    assert answer.status_code == 422
    assert PLANTED not in answer.text
    params = {error["param"] for error in answer.json()["errors"]}
    assert params == {
        "name",
        "voice",
        "llm.0.model",
        "llm.0.api_key",
        "llm.0.…",
        "input.turn_detection.vad_threshold",
        "greeting",
        "…",
    }


ENTRY = {"base_url": "https://llm.example.com/v1", "model": "m", "api_key": PLANTED}


@pytest.mark.parametrize(
    ("llm", "param"),
    [
        ([ENTRY] * (MAX_ENTRIES + 1), "llm"),
        ([{**ENTRY, "apiKey": PLANTED}], "llm.0.…"),
        ([{**ENTRY, "region": PLANTED}], "llm.0.region"),
        ([{**ENTRY, "api_key": ""}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": f"{PLANTED}\r\nX: y"}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": f"{PLANTED}é"}], "llm.0.api_key"),
        ([{**ENTRY, "api_key": [PLANTED]}], "llm.0.api_key"),
        ([{**ENTRY, "base_url": ""}], "llm.0.base_url"),
        ([{**ENTRY, "model": [PLANTED]}], "llm.0.model"),
        ([PLANTED], "llm.0"),
        (PLANTED, "llm"),
        ({"0": ENTRY}, "llm"),
    ],
)
async def test_an_llm_entry_is_refused_by_field_and_its_key_never_echoed(
    client: AsyncClient, llm: object, param: str
) -> None:
    answer = await client.post("/agents", json=agent(llm=llm))
    assert answer.status_code == 422
    assert answer.json()["param"] == param
    assert PLANTED not in answer.text


async def test_one_llm_entry_is_taken(client: AsyncClient) -> None:
    assert (await client.post("/agents", json=agent(llm=[ENTRY]))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\xfa",
        b'"\\ud800"',
        b'{"name": "\\ud800", "system_prompt": "b", "voice": {"voice_id": "ivy"}}',
        b'{"name": "a\\u0000b", "system_prompt": "b", "voice": {"voice_id": "ivy"}}',
        b'{"name": NaN}',
        b"[" * 990,
        b'{"a":' * 190,
        b"1" * 999,
    ],
)
async def test_a_body_that_makes_no_sense_is_a_4xx(client: AsyncClient, body: bytes) -> None:
    answer = await client.post(
        "/agents", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    ErrorBody.model_validate_json(answer.content)


async def test_the_number_of_errors_told_is_bounded(client: AsyncClient) -> None:
    body = agent(**{f"{chr(97 + n % 26)}{chr(97 + n // 26)}": 1 for n in range(60)})
    assert len((await client.post("/agents", json=body)).json()["errors"]) == 20


async def test_a_body_over_the_limit_is_a_413_declared_or_not(client: AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    for content in (b"x" * 1_001, chunks()):
        answer = await client.post("/raw", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        assert answer.headers["connection"] == "close"
    assert (await client.post("/raw", content=b"x" * 1_000)).json() == 1_000


async def test_a_body_that_never_ends_is_a_408() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        if not sent:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", KEY.encode())]
    scope: dict[str, object] = {"type": "http", "method": "POST", "path": "/raw"}
    scope |= {"headers": headers}
    scope |= {"query_string": b"", "raw_path": b"/raw", "root_path": "", "scheme": "http"}
    await application()(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_crash_tells_nothing_and_logs_where_but_not_what(client: AsyncClient) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await client.get("/crash?key=" + PLANTED)
    assert answer.status_code == 500
    assert PLANTED not in answer.text
    assert PLANTED not in json.dumps(logs)
    crashed = next(entry for entry in logs if entry["event"] == "request crashed")
    assert crashed["error"] == "ValueError"
    assert "test_requests.py" in crashed["at"][-1]
    assert any(entry["event"] == "request" and entry["status"] == 500 for entry in logs)
