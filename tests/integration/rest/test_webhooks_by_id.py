"""Webhooks that name an agent by its id: they change an agent of their account and make none."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.ids import agent_id_of, new_id
from tests.servers.accounts import AGENT, Keys
from tests.servers.waiting import wait_for
from tests.servers.webhooks import Sender, event_body, upsert_body

ENTRY = {"base_url": "https://8.8.8.8/v1", "model": "m", "api_key": "sk-first"}


def settled(engine: Engine, answer: httpx.Response) -> tuple[str, str | None]:
    """Wait until the event of a webhook is settled; return its status and why."""
    assert answer.status_code == 202, answer.text
    query = sa.text("SELECT status, message FROM config_events WHERE id = :id")

    def found() -> tuple[str, str | None] | None:
        with engine.connect() as connection:
            row = connection.execute(query, {"id": answer.json()["event_id"]}).one()
        return None if row.status == "pending" else (row.status, row.message)

    return wait_for("it is settled", found)


@pytest.fixture
def stranger(client: httpx.Client, keys: Keys) -> Sender:
    """A source of another account."""
    made = client.put(f"/v1/sources/{new_id('msg')[:40]}", headers=keys.other.headers).json()
    return Sender(client, made["url"], made["secret"])


def by_id(agent_id: str, name: str = "a", **more: Any) -> bytes:
    fields: dict[str, Any] = {**AGENT, "name": name, **more}
    return event_body("agent.upsert", id=agent_id, **fields)


def test_no_account_can_take_an_id_that_another_accounts_name_stands_for(
    client: httpx.Client,
    sender: Sender,
    stranger: Sender,
    keys: Keys,
    engine: Engine,
) -> None:
    refused = ("rejected", "there is no such agent")
    name = new_id("msg")
    agent_id = agent_id_of("default", name)
    agent = f"/v1/agents/{agent_id}"
    assert settled(engine, stranger.send(by_id(agent_id, "taken"))) == refused
    assert client.get(agent, headers=keys.other.headers).status_code == 404
    assert settled(engine, sender.send(upsert_body(name, "mine")))[0] == "applied"
    for body in (
        by_id(agent_id, "taken"),
        event_body("agent.llm.rotate", id=agent_id, api_key="sk-taken"),
    ):
        assert settled(engine, stranger.send(body)) == refused
    settled(engine, stranger.send(event_body("agent.delete", id=agent_id)))
    assert client.get(agent).json()["name"] == "mine"
    assert client.delete(agent).status_code == 204
    assert settled(engine, stranger.send(by_id(agent_id, "taken"))) == refused
    assert settled(engine, sender.send(upsert_body(name, "mine again")))[0] == "applied"
    assert client.get(agent).json()["name"] == "mine again"


def test_by_its_id_an_agent_is_replaced_but_for_its_name_models_and_tools(
    client: httpx.Client,
    sender: Sender,
    engine: Engine,
) -> None:
    name = new_id("msg")
    tool = {"name": "t", "description": "d"}
    first = upsert_body(name, "first", greeting="Hello.", llm=[ENTRY], tools=[tool])
    assert settled(engine, sender.send(first))[0] == "applied"
    agent = f"/v1/agents/{agent_id_of('default', name)}"
    before = client.get(agent).json()
    assert settled(engine, sender.send(by_id(before["id"], "second")))[0] == "applied"
    after = client.get(agent).json()
    changed = {"name": "second", "greeting": None, "updated_at": after["updated_at"]}
    assert after == {**before, **changed}
    assert (after["external_id"], len(after["llm"]), len(after["tools"])) == (name, 1, 1)
    assert (
        settled(engine, sender.send(by_id(before["id"], "third", llm=[], tools=[])))[0] == "applied"
    )
    assert (client.get(agent).json()["llm"], client.get(agent).json()["tools"]) == ([], [])
