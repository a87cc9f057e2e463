"""What an upstream's answer comes to before any of it is passed on."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import pytest

from workers.errors import ModelError
from workers.llm_gateway.relay import CUT_OFF
from workers.llm_gateway.upstream import read_whole


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
