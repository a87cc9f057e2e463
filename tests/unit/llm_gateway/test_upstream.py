"""What an upstream's answer comes to before any of it is passed on."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import httpcore
import pytest

from workers.errors import ModelError
from workers.llm_gateway.models_file import Route, Upstream
from workers.llm_gateway.relay import CUT_OFF
from workers.llm_gateway.upstream import LONGEST_WAIT_S, UpstreamError, posting, read_whole
from workers.providers.warm_connections import WarmConnections


async def once(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


@pytest.mark.parametrize(
    ("said", "failure", "status"),
    [
        ({"error": {"message": "sk-secret", "code": "rate_limit_exceeded"}}, "http_429", 429),
        ({"error": {"message": "sk-secret", "code": "503"}}, "http_5xx", 503),
        ({"error": {"message": "sk-secret", "code": "odd"}}, "http_5xx", None),
        ({"error": "sk-secret"}, "http_5xx", None),
        ({"object": "error", "message": "sk-secret", "code": 429}, "http_429", 429),
        ({"object": "error", "message": "sk-secret", "code": 400}, "http_4xx", 400),
        ([], "bad_content_type", None),
    ],
)
async def test_an_error_behind_a_200_has_its_class_and_none_of_its_words(
    said: Any, failure: str, status: int | None
) -> None:
    response = httpcore.Response(200, content=once(json.dumps(said).encode()))
    with pytest.raises(ModelError) as caught:
        await read_whole(response, CUT_OFF)
    assert (caught.value.failure, caught.value.status_code) == (failure, status)
    assert "sk-secret" not in str(caught.value)


class Refusing:
    """Connections on which every request is answered 429 with these headers."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def handle_async_request(self, _request: httpcore.Request) -> httpcore.Response:
        return httpcore.Response(429, headers=self._headers, content=once(b""))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("7", 7),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 20),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 12:00:00 GMT", LONGEST_WAIT_S),
        ("9" * 5_000, LONGEST_WAIT_S),
        ("soon", None),
    ],
)
async def test_how_long_an_upstream_asks_to_be_left_alone_is_told(
    asked: str, told: int | None
) -> None:
    headers = {"Retry-After": asked, "Date": "Sun, 22 Nov 2026 12:00:10 GMT"}
    connections = cast("WarmConnections", Refusing(headers))
    route = Route(name="m", upstream=Upstream(base_url="http://127.0.0.1/v1", model="m"))
    with pytest.raises(UpstreamError) as caught:
        async with posting(connections, route, b"{}", {}, "application/json"):
            pass
    assert caught.value.retry_after == told
