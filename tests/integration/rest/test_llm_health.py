"""The health of LLM entries over REST: a gateway and config workers as processes."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis import Redis

from tests.acceptance.model import Model
from tests.integration.rest.test_agents import AGENT, create
from tests.servers.parts import Part, configure, flush, running_config_worker, running_gateway
from tests.servers.planted import found_in, found_in_redis, found_under, planted
from tests.servers.waiting import wait_for
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.database import open_engine, writing
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as served:
        yield served


@pytest.fixture(scope="module")
def probed(own_settings: Settings) -> Settings:
    return configure(own_settings, llm_allow="127.0.0.1", llm_probe_every_s=3_600.0)


@pytest.fixture(scope="module")
def gateway(probed: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    flush(probed)
    make_missing_keys(keys_folder(probed.home_path), {})
    with running_gateway(probed) as running:
        yield running


@pytest.fixture
def worker(probed: Settings, gateway: tuple[Part, httpx.Client]) -> Iterator[Part]:
    assert gateway[0].process.poll() is None
    with running_config_worker(probed) as part:
        yield part


def entry(model: Model, name: str = "health") -> dict[str, str]:
    return {"base_url": model.url, "model": "mine", "api_key": planted(name)}


def path(agent: dict[str, Any]) -> str:
    return f"/v1/agents/{agent['id']}/llm/health"


def settled(client: httpx.Client, agent: dict[str, Any], status: str) -> dict[str, Any]:
    """Wait until the one entry of an agent is probed and has this status."""

    def read() -> dict[str, Any] | None:
        (found,) = client.get(path(agent)).raise_for_status().json()["entries"]
        return dict(found) if found["status"] == status and not found["pending"] else None

    return wait_for(f"the entry is {status}", read, within=15)


def clear(probed: Settings, agent: dict[str, Any]) -> None:
    """Let the time pass after which an agent's owner may ask again."""
    with Redis.from_url(probed.redis_url or "") as redis:
        assert redis.delete(f"llm:probe:asked:{agent['id']}") == 1


@pytest.mark.usefixtures("worker")
def test_an_entry_is_probed_when_it_is_stored_and_when_its_owner_asks(
    client: httpx.Client, model: Model, probed: Settings
) -> None:
    model.reset()
    agent = create(client, llm=[entry(model)])
    found = settled(client, agent, "ok")
    assert {name: found[name] for name in ("entry", "base_url", "model", "tools")} == {
        "entry": 0,
        "base_url": model.url,
        "model": "mine",
        "tools": "not_called",
    }
    assert found["first_token_ms"] > 0
    tool = {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object"},
    }
    change = client.put(f"/v1/agents/{agent['id']}", json={"tools": [tool]})
    assert change.status_code == 200, change.text
    lacking = settled(client, agent, "degraded")
    assert lacking["reason"] == "no_tools"
    assert client.put(f"/v1/agents/{agent['id']}", json={"tools": []}).status_code == 200
    with model.answers_500():
        asked = client.post(path(agent))
        assert (asked.status_code, asked.json()["agent_id"]) == (202, agent["id"])
        again = client.post(path(agent))
        assert (again.status_code, again.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(again.headers["retry-after"]) <= 10
        failing = settled(client, agent, "failing")
        assert (failing["reason"], failing["status_code"]) == ("http_5xx", 500)
        changed = client.put(f"/v1/agents/{agent['id']}", json={"llm": [entry(model, "new")]})
        assert changed.status_code == 200
    clear(probed, agent)
    assert client.post(path(agent)).status_code == 202
    settled(client, agent, "ok")
    clear(probed, agent)
    managed = client.put(f"/v1/agents/{agent['id']}", json={"llm": []}).json()
    assert client.get(path(managed)).json()["entries"] == []
    refused = client.post(path(managed))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.usefixtures("worker")
def test_an_entry_that_turns_leave_alone_says_so(
    client: httpx.Client, model: Model, probed: Settings
) -> None:
    agent = create(client, llm=[entry(model)])
    (found,) = client.get(path(agent)).json()["entries"]
    assert (found["circuit"], found["left_alone_until"]) == ("closed", None)
    asyncio.run(fail_once(probed, model, "another"))
    (found,) = client.get(path(agent)).json()["entries"]
    assert found["circuit"] == "closed"
    asyncio.run(fail_once(probed, model, "default"))
    (found,) = client.get(path(agent)).json()["entries"]
    assert found["circuit"] == "open"
    left = datetime.fromisoformat(found["left_alone_until"]) - datetime.now(UTC)
    assert timedelta(seconds=200) < left < timedelta(seconds=301)


async def fail_once(probed: Settings, model: Model, account: str) -> None:
    """Let a turn of this account find the model dead."""
    async with contextlib.aclosing(connect(probed)) as redis:
        breakers = Breakers(redis, BreakerRule(failures=1, open_s=300))
        await breakers.failed(endpoint_name(account, model.url, "mine"))


@pytest.mark.usefixtures("worker")
def test_an_endpoint_that_says_nothing_holds_no_change_up(
    client: httpx.Client, model: Model
) -> None:
    model.reset()
    with model.stalls():
        agents = [create(client, llm=[entry(model, f"slow{n}")]) for n in range(12)]
        wait_for("a probe is under way", lambda: model.requests, within=10)
        began = time.monotonic()
        for agent in agents:
            answer = client.put(f"/v1/agents/{agent['id']}", json={"name": "Changed"})
            assert answer.status_code == 200
        assert time.monotonic() - began < 5
        for agent in agents:
            assert client.delete(f"/v1/agents/{agent['id']}").status_code == 204


@pytest.mark.slow
def test_a_worker_killed_in_mid_probe_is_followed_by_another_and_no_key_is_left_behind(
    request: pytest.FixtureRequest,
    gateway: tuple[Part, httpx.Client],
    model: Model,
    probed: Settings,
) -> None:
    client = gateway[1]
    model.reset()
    answers = []
    with running_config_worker(probed) as part:
        with model.stalls():
            answers.append(client.post("/v1/agents", json={**AGENT, "llm": [entry(model)]}))
            agent = answers[0].json()
            wait_for("a probe is under way", lambda: model.requests, within=10)
            part.stop(signal.SIGKILL)
        answers.append(client.get(path(agent)))
        assert answers[-1].json()["entries"][0]["pending"]
    end_leases(probed)
    with running_config_worker(probed):
        settled(client, agent, "ok")
        with model.answers_500():  # its error repeats a key
            answers.append(client.post(path(agent)))
            settled(client, agent, "failing")
        answers.append(client.get(path(agent)))
    keys = {each.headers["authorization"] for each in model.requests}
    assert keys == {f"Bearer {planted('health')}"}
    assert [answer.status_code for answer in answers] == [201, 200, 202, 200]
    for answer in answers:
        assert found_in(answer.content + repr(answer.headers).encode()) == []
        assert b"sk-secret" not in answer.content
    with Redis.from_url(probed.redis_url or "") as redis:
        assert found_in_redis(redis) == {}
    assert found_under(probed.home_path) == {}
    assert not any("sk-secret" in log.read_text() for log in probed.home_path.glob("*.log"))
    if probed.database.startswith("postgresql"):
        assert found_under(request.getfixturevalue("postgres").folder) == {}


def end_leases(settings: Settings) -> None:
    """Let the time pass after which a worker that probes is taken for dead."""
    engine = open_engine(settings)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE llm_entries SET probe_due_at = 1"))
    engine.dispose()
