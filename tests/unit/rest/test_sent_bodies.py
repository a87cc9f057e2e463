"""Bodies: of which type, how long, how late, and what makes no sense."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from starlette.types import Message

from schemas.error import ErrorBody
from tests.fakes.rest_application import KEY, agent, application


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


@pytest.mark.parametrize(
    "sent_as", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x.agent+json"]
)
async def test_json_is_taken_under_each_of_its_types(client: AsyncClient, sent_as: str) -> None:
    body, headers = json.dumps(agent()).encode(), {"Content-Type": sent_as}
    assert (await client.post("/agents", content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "sent_as",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonl", "text/json", "x"],
)
async def test_a_body_of_another_type_is_a_415_that_says_what_to_send(
    client: AsyncClient, sent_as: str
) -> None:
    headers = {"Content-Type": sent_as} if sent_as else {}
    answer = await client.post("/agents", content=json.dumps(agent()).encode(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "invalid_request")
    assert "application/json" in answer.json()["message"]
    nothing = await client.post("/agents", content=b"", headers=headers)
    assert nothing.status_code == 422


async def test_a_body_over_the_limit_is_a_413_declared_or_not(client: AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    for content in (b"x" * 1_001, chunks()):
        answer = await client.post("/raw", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        assert answer.headers["connection"] == "close"
    assert (await client.post("/raw", content=b"x" * 1_000)).json() == 1_000


def request_for(path: str) -> dict[str, object]:
    scope: dict[str, object] = {"type": "http", "method": "POST", "path": path}
    scope |= {"headers": [(b"authorization", KEY.encode())]}
    return scope | {
        "query_string": b"",
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
    }


async def test_a_body_that_never_ends_is_a_408() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        if not sent:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application()(request_for("/raw"), receive, send)
    assert sent[0]["status"] == 408


async def test_a_body_that_breaks_off_is_a_400_and_no_crash() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application()(request_for("/agents"), receive, send)
    assert sent[0]["status"] == 400
