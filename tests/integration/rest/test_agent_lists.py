"""Agents by name and whole records by the page, as `edgewise apply --dry-run` and `export` ask."""

import json

import httpx
import pytest

from schemas.ids import agent_id_of, new_id
from tests.integration.rest.test_agents import AGENT, create
from tests.servers.accounts import Keys
from tests.servers.waiting import wait_for
from tests.servers.webhooks import code_of


@pytest.fixture(scope="module")
def fleet(gateway: tuple[object, httpx.Client]) -> list[str]:
    """Sixty agents with names of their owner's."""
    client, names = gateway[1], [f"fleet-{number}/ü&" for number in range(60)]
    body = "\n".join(json.dumps({**AGENT, "external_id": name}) for name in names)
    headers = {"Content-Type": "application/x-ndjson"}
    batch = client.post("/v1/batches", content=body.encode(), headers=headers).json()

    def done() -> bool:
        return bool(client.get(f"/v1/batches/{batch['id']}").json()["status"] == "done")

    wait_for("the batch is applied", done, within=30)
    return names


def test_agents_are_found_by_either_name_and_only_those_of_the_account(
    client: httpx.Client, fleet: list[str], keys: Keys
) -> None:
    mine = create(client)
    query = [("external_id", fleet[7]), ("external_id", "nobody"), ("external_id", fleet[3])]
    query += [
        ("id", str(mine["id"])),
        ("id", new_id("agent")),
        ("id", "agent_\x00"),
        ("limit", "1"),
    ]
    page = client.get("/v1/agents", params=tuple(query)).json()
    wanted = {agent_id_of("default", fleet[7]), agent_id_of("default", fleet[3]), mine["id"]}
    assert {each["id"] for each in page["agents"]} == wanted
    assert {tuple(each) for each in page["agents"]} == {
        ("id", "name", "created_at", "updated_at", "llm")
    }
    assert (page["has_more"], page["response_metadata"]["next_cursor"]) == (False, None)
    theirs = client.get("/v1/agents", params=tuple(query), headers=keys.other.headers).json()
    assert theirs["agents"] == []


def test_whole_records_come_fifty_to_a_page(client: httpx.Client, fleet: list[str]) -> None:
    query: dict[str, str | int] = {"full": "true", "limit": 200}
    found: dict[str, object] = {}
    while True:
        page = client.get("/v1/agents", params=query).raise_for_status().json()
        assert len(page["agents"]) <= 50
        found |= {each["id"]: each for each in page["agents"]}
        if not page["has_more"]:
            break
        query["cursor"] = page["response_metadata"]["next_cursor"]
    for name in fleet:
        agent_id = agent_id_of("default", name)
        assert found[agent_id] == client.get(f"/v1/agents/{agent_id}").json()
    named = client.get("/v1/agents", params={"full": "true", "external_id": fleet[0]}).json()
    assert named["agents"] == [found[agent_id_of("default", fleet[0])]]


@pytest.mark.parametrize(
    "query",
    [
        [("external_id", f"x{number}") for number in range(51)],
        [("id", new_id("agent")) for _ in range(51)],
        [("external_id", "")],
        [("external_id", "x" * 257)],
        [("full", "perhaps")],
        [("full", "true"), ("full", "true")],
        [("limit", "1"), ("limit", "2")],
    ],
    ids=["names", "ids", "empty", "long", "full", "full twice", "limit twice"],
)
def test_no_more_is_asked_for_at_once(client: httpx.Client, query: list[tuple[str, str]]) -> None:
    assert code_of(client.get("/v1/agents", params=tuple(query))) == (422, "validation_error")
