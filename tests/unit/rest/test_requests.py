"""What surrounds every REST route: ids, errors in one shape, the key."""

import json

import pytest
import structlog
from httpx import AsyncClient

from schemas.error import ErrorBody
from tests.fakes.rest_application import KEY, PLANTED


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


async def test_a_crash_tells_nothing_and_logs_where_but_not_what(client: AsyncClient) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await client.get("/crash?key=" + PLANTED)
    assert answer.status_code == 500
    assert PLANTED not in answer.text
    assert PLANTED not in json.dumps(logs)
    crashed = next(entry for entry in logs if entry["event"] == "request crashed")
    assert crashed["error"] == "ValueError"
    assert "rest_application.py" in crashed["at"][-1]
    assert any(entry["event"] == "request" and entry["status"] == 500 for entry in logs)
