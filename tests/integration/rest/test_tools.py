"""Agents with tools over REST, on both databases."""

from typing import Any

import httpx
import pytest

from tests.integration.rest.test_agents import create
from tests.servers.planted import found_in, planted
from workers.settings import Settings
from workers.storage.agents.tool_rows import headers_of
from workers.storage.database import open_engine, reading

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLIENT = {"name": "lights_on", "description": "Switches the lights on."}
CALLED: dict[str, object] = {
    "url": "https://8.8.8.8/weather/",
    "headers": [{"name": "Authorization", "value": f"Bearer {planted('header')}"}],
}
HTTP = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": SCHEMA,
    "timeout_seconds": 5,
    "http": CALLED,
}
VIEW = {
    **HTTP,
    "type": "function",
    "http": {
        "url": "https://8.8.8.8/weather/",
        "http_method": "POST",
        "headers": [{"name": "Authorization"}],
    },
}


def put(client: httpx.Client, agent: object, **fields: object) -> httpx.Response:
    return client.put(f"/v1/agents/{agent}", json=fields)


def headers(settings: Settings, agent: object) -> int:
    engine = open_engine(settings)
    with reading(engine) as connection:
        found = headers_of(connection, str(agent), "weather")
    engine.dispose()
    assert found_in(repr([header.model_dump() for header in found]).encode()) == []
    return len(found)


def test_tools_are_kept_read_back_without_secrets_and_replaced_whole(
    client: httpx.Client, system_settings: Settings
) -> None:
    record = create(client, tools=[HTTP, CLIENT])
    agent, kept = record["id"], record["tools"]
    assert isinstance(kept, list)
    assert kept[0] == VIEW
    assert kept[1]["parameters"] == {"type": "object", "properties": {}}
    assert (kept[1]["timeout_seconds"], kept[1]["http"]) == (120, None)
    assert put(client, agent, name="Other").json()["tools"] == kept
    assert put(client, agent, llm=[]).json()["tools"] == kept
    assert headers(system_settings, agent) == 1
    assert put(client, agent, tools=[CLIENT]).json()["tools"] == [kept[1]]
    assert headers(system_settings, agent) == 0
    changed = put(client, agent, tools=[HTTP])
    assert changed.json()["tools"] == [VIEW]
    assert client.get(f"/v1/agents/{agent}").json()["tools"] == [VIEW]
    assert found_in(changed.content) == []
    assert client.delete(f"/v1/agents/{agent}").status_code == 204
    assert headers(system_settings, agent) == 0


def http(**changes: object) -> dict[str, Any]:
    return {**HTTP, "http": {**CALLED, **changes}}


def deep(levels: int) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": deep(levels - 1) if levels else {}}}


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{**CLIENT, "name": "two words"}], "tools.0.name"),
        ([CLIENT, CLIENT], "tools"),
        ([{**CLIENT, "name": f"t{n}"} for n in range(65)], "tools"),
        ([{"name": "x"}], "tools.0.description"),
        ([{**CLIENT, "region": "x"}], "tools.0.…"),
        ([{**CLIENT, "timeout_seconds": 301}], "tools.0.timeout_seconds"),
        ([CLIENT, {**HTTP, "parameters": {"type": "array"}}], "tools.1.parameters"),
        ([{**CLIENT, "parameters": {"type": "object", "x": "y" * 17_000}}], "tools.0.parameters"),
        ([{**CLIENT, "parameters": deep(20)}], "tools.0.parameters"),
        (
            [{**CLIENT, "parameters": {"type": "object", "$ref": "https://8.8.8.8/s"}}],
            "tools.0.parameters",
        ),
        (
            [{**CLIENT, "parameters": {"type": "object", "$ref": "#/$defs/none"}}],
            "tools.0.parameters",
        ),
        ([http(url="http://8.8.8.8/")], "tools.0.http.url"),
        ([http(url="https://10.0.0.1/")], "tools.0.http.url"),
        ([http(url="https://no-such-name.example.net/")], "tools.0.http.url"),
        ([http(url=f"https://8.8.8.8/?key={planted('url')}")], "tools.0.http.url"),
        ([http(http_method="TRACE")], "tools.0.http.http_method"),
        ([http(headers=[{"name": "Host", "value": "x"}])], "tools.0.http.headers.0.name"),
        (
            [http(headers=[{"name": "X", "value": f"{planted('bad')}\r\nHost: x"}])],
            "tools.0.http.headers.0.value",
        ),
        (
            [http(headers=[{"name": "X", "value": "a"}, {"name": "x", "value": "b"}])],
            "tools.0.http",
        ),
    ],
)
def test_tools_that_cannot_be_are_refused_and_change_nothing(
    client: httpx.Client, agent_id: str, tools: list[object], param: str
) -> None:
    before = client.get(f"/v1/agents/{agent_id}").json()
    answer = put(client, agent_id, tools=tools)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert found_in(answer.content) == []
    assert client.get(f"/v1/agents/{agent_id}").json() == before
