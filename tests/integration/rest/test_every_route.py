"""Every route of the OpenAPI document, walked with keys that must not open it.

A route that is added is walked without a change here; one with a new kind of object in its
path fails until `owned` makes such an object.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.error import ErrorBody
from tests.servers.accounts import MadeKey, make_account, make_key
from workers.settings import Settings

PUBLIC = {"/healthz", "/readyz"}
SIGNED = {"/v1/webhooks/{source}"}
"""Open to whoever has the secret of the source, not to a key: test_webhook_headers.py."""
OWN_NAMES = {("put", "/v1/sources/{name}")}
"""What another account makes under a name is its own."""
OFFER = (Path(__file__).parents[2] / "data" / "sdp" / "chromium.sdp").read_bytes()
NAME = "planted-name-5e1c"
AGENT = {"name": NAME, "system_prompt": "planted-prompt-5e1c", "voice": {"voice_id": "ivy"}}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/agents"): {"json": AGENT},
    ("post", "/v1/agents/{agent_id}/sessions"): {
        "content": OFFER,
        "headers": {"Content-Type": "application/sdp"},
    },
    ("post", "/v1/batches"): {
        "content": b'{"external_id": "walked", "delete": true}',
        "headers": {"Content-Type": "application/x-ndjson"},
    },
}
"""What a route needs to get as far as the object; others are sent `{}`, or nothing by GET."""

HOOK = {"url": "https://8.8.8.8/hook", "events": ["config_event.dead"]}
"""Nothing is sent there."""
METHODS = {"get", "put", "post", "patch", "delete"}


@dataclass(frozen=True)
class Others:
    admin: MadeKey
    """Of another account."""
    llm: MadeKey
    """Of the same account, with no scope that any route here takes."""


@pytest.fixture(scope="module")
def others(system_settings: Settings) -> Others:
    make_account(system_settings, "other")
    return Others(
        make_key(system_settings, "admin", account="other"), make_key(system_settings, "llm")
    )


@pytest.fixture
def owned(client: httpx.Client) -> dict[str, str]:
    """An object of the account `default` for each name in a path."""
    agent = client.post("/v1/agents", json=AGENT)
    assert agent.status_code == 201, agent.text
    agent_id = agent.json()["id"]
    asked = BODIES["post", "/v1/agents/{agent_id}/sessions"]
    session = client.post(f"/v1/agents/{agent_id}/sessions", **asked)
    assert session.status_code == 201, session.text
    source = client.put("/v1/sources/walked")
    assert source.status_code in (200, 201), source.text
    endpoint = client.post("/v1/webhook-endpoints", json=HOOK)
    assert endpoint.status_code == 201, endpoint.text
    batch = client.post("/v1/batches", **BODIES["post", "/v1/batches"])
    assert batch.status_code == 202, batch.text
    return {
        "endpoint_id": endpoint.json()["id"],
        "agent_id": agent_id,
        "batch_id": batch.json()["id"],
        "session_id": session.headers["location"].rpartition("/")[2],
        "name": source.json()["name"],
    }


def routes(client: httpx.Client) -> list[tuple[str, str]]:
    document = client.get("/openapi.json").json()
    found = [
        (method, path)
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS and path not in PUBLIC | SIGNED
    ]
    assert ("delete", "/v1/sessions/{session_id}") in found
    return found


def ask(
    client: httpx.Client, method: str, path: str, owned: dict[str, str], key: str
) -> httpx.Response:
    names = re.findall(r"\{(\w+)\}", path)
    assert set(names) <= set(owned), f"{path}: `owned` makes no such object yet"
    sent = BODIES.get((method, path), {} if method in {"get", "delete"} else {"json": {}})
    headers = {**sent.get("headers", {}), "Authorization": key}
    more = {name: value for name, value in sent.items() if name != "headers"}
    return client.request(method, path.format(**owned), headers=headers, **more)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, ErrorBody.model_validate_json(answer.content).code


def test_without_a_key_or_with_a_wrong_one_each_route_is_shut(
    client: httpx.Client, owned: dict[str, str]
) -> None:
    for method, path in routes(client):
        for key, code in {
            "": "missing_authorization",
            "Bearer wrong": "unauthorized",
            "Bearer ew_" + "0" * 43: "unauthorized",
            "Bearer ewt_" + "0" * 43: "unauthorized",
        }.items():
            answer = ask(client, method, path, owned, key)
            assert code_of(answer) == (401, code), (method, path)


def test_a_key_without_the_scope_opens_no_route(
    client: httpx.Client, owned: dict[str, str], others: Others
) -> None:
    for method, path in routes(client):
        answer = ask(client, method, path, owned, others.llm.text)
        assert code_of(answer) == (401, "unauthorized"), (method, path)


def test_the_object_of_another_account_is_not_found_on_any_route(
    client: httpx.Client, owned: dict[str, str], others: Others
) -> None:
    before = client.get(f"/v1/agents/{owned['agent_id']}").json()
    for method, path in set(routes(client)) - OWN_NAMES:
        answer = ask(client, method, path, owned, others.admin.text)
        if "{" in path:
            assert answer.status_code == 404, (method, path, answer.text)
            assert code_of(answer)[1].endswith("not_found")
        elif method == "get":
            for planted in (*owned.values(), AGENT["system_prompt"]):
                assert str(planted) not in answer.text, (method, path)
    assert client.get(f"/v1/agents/{owned['agent_id']}").json() == before
    assert client.delete(f"/v1/sessions/{owned['session_id']}").status_code == 204
