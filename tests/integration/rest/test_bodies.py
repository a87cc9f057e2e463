"""Bodies that make no sense, sent to every route that takes JSON: a clear 4xx, memory flat."""

import json
from collections.abc import Iterator

import httpx
import psutil
import pytest

from schemas.error import ErrorBody
from schemas.ids import new_id
from tests.servers.parts import Part
from workers.settings import Settings

MEGABYTE = 1_048_576
ABUSES: dict[str, bytes] = {
    "too large": b'{"name": "' + b"x" * MEGABYTE + b'"}',
    "large": b'["' + b"x" * (MEGABYTE - 100) + b'"]',
    "many": b"[" + b"1," * 500_000 + b"1]",
    "too deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"name":' * 100 + b"1" + b"}" * 100,
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a mark before it": b'\xef\xbb\xbf{"name": "a"}',
    "a name twice": b'{"name": "a", "name": "b", "limit": 1, "limit": 2}',
    "NaN": b'{"name": NaN, "expires_in_seconds": NaN}',
    "Infinity": b'{"expires_in_seconds": -Infinity}',
    "huge": b'{"expires_in_seconds": 1' + b"0" * 5_000 + b"}",
    "too large a number": b'{"expires_in_seconds": 1e400}',
    "half a pair": b'{"name": "\\ud800", "x": ["\\udfff"]}',
    "NUL": b'{"name": "a\\u0000", "\\u0000": 1}',
    "NUL itself": b'{"name": "a\x00"}',
    "a list": b"[]",
    "a number": b"5",
    "text": b'"text"',
    "half": b'{"name": ',
    "two": b"{} {}",
    "wrong types": json.dumps(
        {name: {"x": [1]} for name in ("name", "agent", "expires_in_seconds", "url", "events")}
    ).encode(),
}


@pytest.fixture(scope="module")
def system_settings(module_settings: Settings) -> Settings:
    """SQLite alone: what a body or a document is does not hang on the database."""
    return module_settings


@pytest.fixture
def routes(client: httpx.Client) -> list[tuple[str, str]]:
    def found() -> Iterator[tuple[str, str]]:
        for path, item in client.get("/openapi.json").json()["paths"].items():
            for method, operation in item.items():
                # A batch takes lists as well, and answers for its rows one by one.
                if operation.get("requestBody", {}).get("content", {}).keys() == {
                    "application/json"
                }:
                    yield method, path.replace("{agent_id}", new_id("agent"))

    return list(found())


def test_each_is_a_4xx_on_each_route_and_nothing_is_kept_of_it(
    gateway: tuple[Part, httpx.Client], routes: list[tuple[str, str]]
) -> None:
    part, client = gateway
    process = psutil.Process(part.process.pid)
    before = client.get("/v1/agents?limit=200").json()

    def abuse() -> None:
        for method, path in routes:
            for name, body in ABUSES.items():
                headers = {"Content-Type": "application/json"}
                answer = client.request(method, path, content=body, headers=headers)
                assert 400 <= answer.status_code < 500, (method, path, name, answer.text)
                ErrorBody.model_validate_json(answer.content)
                assert len(answer.content) < 10_000, (method, path, name)

    abuse()
    used = process.memory_info().rss
    for _ in range(4):
        abuse()
    assert process.memory_info().rss - used < 30e6
    assert client.get("/v1/agents?limit=200").json() == before
    assert not part.logged("request crashed")


def test_a_body_that_is_not_sent_as_json_is_a_415_on_each_route(
    client: httpx.Client, routes: list[tuple[str, str]]
) -> None:
    for method, path in routes:
        for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
            answer = client.request(method, path, content=b"{}", headers=headers)
            assert answer.status_code == 415, (method, path, answer.text)
            assert ErrorBody.model_validate_json(answer.content).code == "invalid_request"


def test_a_large_number_spelt_as_a_fraction_is_that_number(client: httpx.Client) -> None:
    asked, headers = b'{"expires_in_seconds": 6e1}', {"Content-Type": "application/json"}
    answer = client.post("/v1/tokens", headers=headers, content=asked)
    assert answer.status_code == 201, answer.text
