"""A gateway and a config worker whose operator allows one fallback."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas.ids import agent_id_of, new_id
from tests.integration.rest.test_agents import AGENT
from tests.integration.rest.test_llm import ENTRY, VIEW
from tests.servers.parts import configure, flush, running_config_worker, running_gateway
from tests.servers.waiting import wait_for
from tests.servers.webhooks import event_body, new_sender, upsert_body
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings

SECOND = {**ENTRY, "model": "second", "api_key": "sk-rest-2"}


@pytest.fixture(scope="module")
def client(module_settings: Settings) -> Iterator[httpx.Client]:
    settings = configure(module_settings, home=module_settings.home / "fallbacks", llm_fallbacks=1)
    flush(settings)
    make_missing_keys(keys_folder(settings.home_path), {})
    with running_gateway(settings) as running, running_config_worker(settings):
        yield running[1]


def test_an_agent_may_have_as_many_entries_as_the_operator_allows(client: httpx.Client) -> None:
    answer = client.post("/v1/agents", json={**AGENT, "llm": [ENTRY, SECOND]})
    assert answer.status_code == 201
    assert answer.json()["llm"] == [VIEW, {**VIEW, "model": "second"}]
    assert "sk-rest" not in answer.text

    refused = client.put(f"/v1/agents/{answer.json()['id']}", json={"llm": [ENTRY, SECOND, SECOND]})
    assert (refused.status_code, refused.json()["param"]) == (422, "llm")
    told = "llm: holds more than 2 entries, which is what EDGEWISE_LLM_FALLBACKS allows"
    assert refused.json()["message"] == told


def test_a_webhook_gives_a_fallback_a_new_key_and_guesses_none(client: httpx.Client) -> None:
    sender, name = new_sender(client, "rotating"), new_id("msg")
    path = f"/v1/agents/{agent_id_of('default', name)}"

    def record() -> dict[str, Any] | None:
        answer = client.get(path)
        return answer.json() if answer.status_code == 200 else None

    def rotate(**which: Any) -> None:
        body = event_body("agent.llm.rotate", external_id=name, api_key="sk-new", **which)
        assert sender.send(body).status_code == 202

    sender.send(upsert_body(name, llm=[ENTRY, SECOND]))
    made = wait_for("it is made", record)
    rotate()
    rotate(base_url=ENTRY["base_url"])
    rotate(base_url=ENTRY["base_url"], model="third")
    rotate(base_url=ENTRY["base_url"], model="second")

    def renewed() -> dict[str, Any] | None:
        now = record()
        return now if now is not None and now["updated_at"] != made["updated_at"] else None

    changed = wait_for("the one that names an entry is applied", renewed)
    assert changed["llm"] == made["llm"]


def test_lines_and_deadlines_are_kept_and_bounded(client: httpx.Client) -> None:
    given = {"lines": {"filler": "", "failed": "Tut mir leid."}, "deadlines": {"first_token": 3}}
    record = client.post("/v1/agents", json={**AGENT, **given}).json()
    assert record["lines"]["failed"] == "Tut mir leid."
    assert record["lines"]["filler"] == ""
    assert record["deadlines"]["first_token"] == 3
    changed = client.put(f"/v1/agents/{record['id']}", json={"lines": {}}).json()
    assert changed["lines"] == dict.fromkeys(record["lines"])
    assert changed["deadlines"] == record["deadlines"]
    for wrong, param in (
        ({"lines": {"failed": "…"}}, "lines.failed"),
        ({"lines": {"filler": "x" * 201}}, "lines.filler"),
        ({"deadlines": {"total": 0}}, "deadlines.total"),
    ):
        refused = client.put(f"/v1/agents/{record['id']}", json=wrong)
        assert (refused.status_code, refused.json()["param"]) == (422, param)
