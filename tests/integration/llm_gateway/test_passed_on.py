"""What goes along to an upstream, what does not, and where a circle of gateways ends."""

from pathlib import Path

import httpx
import pytest

from tests.integration.llm_gateway.conftest import HEADERS, KEY, add, ask, until
from tests.integration.llm_gateway.scripted_upstream import SECRET, ScriptedUpstream


async def test_the_ids_of_a_turn_go_along_and_the_callers_key_does_not(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    headers = {"X-Edgewise-Turn-Id": "turn_1", "X-Other": "1"}
    await http.post("/v1/chat/completions", json=ask("plain"), headers=headers)
    seen = upstream.asked[0].headers
    assert seen["x-edgewise-turn-id"] == "turn_1"
    assert seen["x-edgewise-hops"] == "1"
    assert "x-other" not in seen
    assert seen["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_a_gateway_that_is_its_own_upstream_ends_the_circle(
    http: httpx.AsyncClient,
    models: Path,
    gateway_url: str,
    monkeypatch: pytest.MonkeyPatch,
    streams: object,
) -> None:
    monkeypatch.setenv("OWN_KEY", KEY)
    circle = f'base_url = "{gateway_url}/v1"\nmodel = "circle"\napi_key_env = "OWN_KEY"\n'
    add(models, f"[models.circle]\n{circle}")

    async def is_there() -> bool:
        return (await http.get("/v1/models/circle")).status_code == 200

    await until(is_there)
    asked = ask("circle", stream=bool(streams))
    answer = await http.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 508
    assert answer.json()["error"]["code"] == "loop_detected"
    figures = (await http.get("/metrics")).text
    assert 'edgewise_llm_upstream_failures_total{failure="http_5xx",model="circle"} 5.0' in figures
    asked["fallbacks"] = [{"model": "plain"}]
    assert (await http.post("/v1/chat/completions", json=asked)).status_code == 200


@pytest.mark.parametrize("hops", ["4", "x", "-9", "²", ""])
async def test_a_request_that_came_through_few_gateways_is_answered(
    http: httpx.AsyncClient, hops: str
) -> None:
    headers = [(b"X-Edgewise-Hops", hops.encode("latin-1"))]
    answer = await http.post("/v1/chat/completions", json=ask("plain"), headers=headers)
    assert answer.status_code == 200


async def test_an_id_beyond_ascii_goes_along_as_it_came(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    headers = {**HEADERS, "X-Edgewise-Turn-Id": "Zürich"}
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = await http.post("/v1/chat/completions", json=ask("plain"), headers=sent)
    assert answer.status_code == 200
    seen = upstream.asked[0].headers["x-edgewise-turn-id"]
    assert seen.encode("latin-1").decode() == "Zürich"


async def test_odd_text_goes_through_as_it_is(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    raw = (
        b'{"model": "plain", "messages": [{"role": "user", "content": "\\ud800 \xc3\xa9 \\u0000"}]}'
    )
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/v1/chat/completions", content=raw, headers=headers)
    assert answer.status_code == 200
    assert upstream.asked[0].body["messages"][0]["content"] == "\ud800 é \x00"


async def test_an_upstream_that_knows_no_stream_options_gets_none(
    models: Path, http: httpx.AsyncClient, upstream: ScriptedUpstream, upstream_url: str
) -> None:
    plain = f'[models.old]\nbase_url = "{upstream_url}"\nmodel = "plain"\nstream_usage = false\n'
    add(models, plain)

    async def is_there() -> bool:
        return (await http.get("/v1/models/old")).status_code == 200

    await until(is_there)
    options = {"include_usage": True}
    for model, wanted in (("old", None), ("plain", options)):
        await http.post("/v1/chat/completions", json=ask(model, stream=True))
        body = upstream.asked[-1].body
        assert body.get("stream_options") == wanted
    await http.post("/v1/chat/completions", json=ask("old", stream=True, stream_options=options))
    assert "stream_options" not in upstream.asked[-1].body
