"""Who leaves is not waited for; what was used is counted; limits hold; the file is read anew."""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.integration.llm_gateway.conftest import HEADERS, add, ask, listening, put, until
from tests.integration.llm_gateway.scripted_upstream import ScriptedUpstream
from workers.llm_gateway import answers
from workers.llm_gateway.app import create_app
from workers.settings import Settings


async def used(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await http.get("/v1/usage")
    assert answer.status_code == 200, answer.text
    return {row["model"]: row for row in answer.json()["data"]}


async def test_a_caller_who_hangs_up_closes_the_upstream_at_once(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    async with http.stream("POST", "/v1/chat/completions", json=ask("endless", stream=True)) as it:
        await anext(it.aiter_raw())
    left_at = time.monotonic()
    async with asyncio.timeout(5):
        await upstream.asked[0].closed.wait()
    assert upstream.asked[0].closed_at - left_at < 3
    row = await _eventually(http, "endless")
    assert (row["requests"], row["failed"], row["estimated"]) == (1, 0, 1)
    assert row["completion_tokens"] > 0


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_a_caller_who_hangs_up_before_the_first_word_does_so_too(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, streams: object
) -> None:
    asked = http.post("/v1/chat/completions", json=ask("silent", stream=bool(streams)))
    asking = asyncio.create_task(asked, name="ask")
    async with asyncio.timeout(5):
        await upstream.arrived.wait()
    asking.cancel()
    left_at = time.monotonic()
    async with asyncio.timeout(5):
        await upstream.asked[0].closed.wait()
    assert upstream.asked[0].closed_at - left_at < 3
    assert (await _eventually(http, "silent"))["requests"] == 1


async def _eventually(http: httpx.AsyncClient, model: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}

    async def is_there() -> bool:
        found.update(await used(http))
        return model in found

    await until(is_there)
    return found[model]


@pytest.mark.usefixtures("redis")
async def test_usage_is_kept_by_model_and_day_and_outlives_the_process(
    gateway_settings: Settings,
) -> None:
    for _ in range(2):
        app = create_app(gateway_settings)
        async with (
            listening(app) as url,
            httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
        ):
            for model in ("plain", "uncounted", "500"):
                for stream in (True, False):
                    await http.post("/v1/chat/completions", json=ask(model, stream=stream))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, headers=HEADERS) as http:
        rows = await used(http)
        plain = rows["plain"]
        today = datetime.now(UTC).date().isoformat()
        assert plain == {
            "day": today,
            "model": "plain",
            "requests": 4,
            "failed": 0,
            "estimated": 0,
            "prompt_tokens": 44,
            "completion_tokens": 20,
            "total_tokens": 64,
        }
        assert rows["uncounted"]["estimated"] == 4
        assert rows["uncounted"]["total_tokens"] > 0
        assert (rows["500"]["requests"], rows["500"]["failed"]) == (4, 4)
        assert (await http.get("/v1/usage?from=2020-01-01&to=2020-01-31")).json()["data"] == []
        assert (await http.get("/v1/usage?from=2020-01-01")).status_code == 400
        assert (await http.get("/v1/usage?from=x")).status_code == 400
        for last in ("0001-01-01", "9999-12-31"):
            assert (await http.get(f"/v1/usage?to={last}")).json()["data"] == []
        assert (await http.get("/v1/usage?account=other")).json()["account"] == "other"


async def test_a_stream_is_under_way_until_its_end(http: httpx.AsyncClient) -> None:
    async def are_under_way(number: int) -> bool:
        return f"edgewise_llm_requests_under_way {number}.0" in (await http.get("/metrics")).text

    body = ask("endless", stream=True)
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        await anext(answer.aiter_raw())
        assert await are_under_way(1)
    await until(partial(are_under_way, 0))


async def test_the_figures_name_account_model_and_outcome(http: httpx.AsyncClient) -> None:
    await http.post("/v1/chat/completions", json=ask("plain", stream=True))
    await http.post("/v1/chat/completions", json=ask("500"))
    said = (await http.get("/metrics")).text
    assert 'edgewise_llm_requests_total{account="default",model="plain",outcome="ok"} 1.0' in said
    assert 'edgewise_llm_upstream_failures_total{failure="http_5xx",model="500"} 1.0' in said
    assert "edgewise_llm_requests_under_way 0.0" in said
    assert "edgewise_llm_models_file_in_force 1.0" in said
    assert (await http.get("/metrics", headers={"Authorization": "x"})).status_code == 401


@pytest.mark.usefixtures("redis")
async def test_an_account_over_its_limit_is_told_when_to_come_back(
    models: Path, gateway_settings: Settings
) -> None:
    add(models, "[limits]\nrequests_per_minute = 3\n")
    async with (
        listening(create_app(gateway_settings)) as one,
        listening(create_app(gateway_settings)) as two,
        httpx.AsyncClient(headers=HEADERS) as http,
    ):
        answers = [
            await http.post(f"{url}/v1/chat/completions", json=ask("plain"))
            for url in (one, two, one, two)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    error = answers[-1].json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 20


@pytest.mark.usefixtures("redis")
async def test_tokens_that_were_used_count_against_the_next_request(
    models: Path, gateway_settings: Settings
) -> None:
    add(models, "[accounts.default]\ntokens_per_minute = 16\n")
    async with (
        listening(create_app(gateway_settings)) as url,
        httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
    ):
        first = await http.post("/v1/chat/completions", json=ask("plain", stream=True))
        second = await http.post("/v1/chat/completions", json=ask("plain", stream=True))
    assert (first.status_code, second.status_code) == (200, 429)


async def test_without_redis_it_answers_and_keeps_limits_by_itself(
    models: Path, gateway_settings: Settings
) -> None:
    add(models, "[limits]\nrequests_per_minute = 1\n")
    away = gateway_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    for settings in (away, gateway_settings.model_copy(update={"redis_url": None})):
        async with (
            listening(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, headers=HEADERS) as http,
        ):
            first = await http.post("/v1/chat/completions", json=ask("plain"))
            second = await http.post("/v1/chat/completions", json=ask("plain"))
            ready = (await http.get("/readyz")).json()
        assert (first.status_code, second.status_code) == (200, 429)
        assert ready["parts"] == {"models_file": True, "redis": False}


async def test_the_file_is_read_anew_and_a_broken_one_changes_nothing(
    http: httpx.AsyncClient, models: Path, upstream_url: str, client: AsyncOpenAI
) -> None:
    async def has_late() -> bool:
        return "late" in [model.id async for model in client.models.list()]

    async def is_broken() -> bool:
        return not (await http.get("/readyz")).json()["parts"]["models_file"]

    async def is_whole() -> bool:
        return not await is_broken()

    late = f'[models.late]\nbase_url = "{upstream_url}"\nmodel = "plain"\n'
    add(models, late)
    await until(has_late)
    add(models, late.replace("late", "other").replace(upstream_url, "sk-in-the-wrong-place"))
    await until(is_broken)
    trouble = (await http.get("/readyz")).json()["models_file_error"]
    assert "models.other.base_url" in trouble
    assert "sk-in-the-wrong-place" not in trouble
    assert (await http.post("/v1/chat/completions", json=ask("late"))).status_code == 200
    put(models, "")
    await until(is_whole)
    assert (await http.post("/v1/chat/completions", json=ask("late"))).status_code == 404


async def test_a_stream_that_is_read_too_slowly_is_dropped_when_its_time_is_over(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "READ_S", -299.5)
    body = ask("endless", stream=True)
    async with http.stream("POST", "/v1/chat/completions", json=body):
        async with asyncio.timeout(5):
            await upstream.arrived.wait()
            await upstream.asked[0].closed.wait()
