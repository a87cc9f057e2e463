"""Endpoints over REST, and what they hear of changes and sessions, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from schemas.webhook import MESSAGE_TYPES
from tests.integration.rest.test_agents import AGENT, create
from tests.servers.accounts import make_account, make_key
from tests.servers.parts import Part, configure
from tests.servers.planted import found_under, planted
from tests.servers.waiting import wait_for
from tests.servers.webhook_receiver import Receiver, running_receiver
from tests.servers.webhooks import code_of
from workers.settings import Settings

OFFER = (Path(__file__).parents[2] / "data" / "sdp" / "chromium.sdp").read_bytes()


@pytest.fixture(scope="module")
def module_settings(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        _env_file=None,
        home=tmp_path_factory.mktemp("home"),
        redis_url=redis_url,
        port=0,
        llm_probe_every_s=0,
    )
    return configure(settings, webhook_allow="127.0.0.1")


@pytest.fixture(scope="module")
def system_settings(own_settings: Settings) -> Settings:
    return own_settings


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def test_an_endpoint_hears_of_its_accounts_changes_and_sessions_and_of_no_others(
    gateway: tuple[Part, httpx.Client], receiver: Receiver, system_settings: Settings
) -> None:
    client = gateway[1]
    make_account(system_settings, "listener")
    theirs = make_key(system_settings, "admin", account="listener")
    for headers, events in ((theirs.headers, None), ({}, ["session.ended", "config_event.dead"])):
        asked = {"url": receiver.url} | ({"events": events} if events else {})
        made = client.post("/v1/webhook-endpoints", json=asked, headers=headers)
        assert made.status_code == 201, made.text
        assert made.headers["cache-control"] == "no-store"
        assert made.json()["events"] == (events[::-1] if events else list(MESSAGE_TYPES))
    endpoint = made.json()
    entry = {"base_url": "https://8.8.8.8/v1", "model": "m", "api_key": planted("told")}
    answer = client.post("/v1/agents", json={**AGENT, "llm": [entry]}, headers=theirs.headers)
    agent_id = answer.json()["id"]
    applied = wait_for("told", lambda: receiver.of_type("config_event.applied"), within=10)[0]
    assert agent_id in applied.body
    assert planted("told") not in applied.body
    mine = str(create(client)["id"])
    opened = client.post(
        f"/v1/agents/{mine}/sessions", content=OFFER, headers={"Content-Type": "application/sdp"}
    )
    assert client.delete(opened.headers["location"]).status_code == 204
    ended = wait_for("told", lambda: receiver.of_type("session.ended"), within=10)[0]
    data = ended.verified(endpoint["secret"])["data"]
    assert data["session_id"] == opened.headers["location"].rpartition("/")[2]
    assert (data["agent_id"], data["reason"]) == (mine, "deleted")
    assert 0 <= data["duration_seconds"] < 10
    assert mine not in "".join(each.body for each in receiver.of_type("config_event.applied"))
    shown = client.get(f"/v1/webhook-endpoints/{endpoint['id']}").json()
    assert {**shown, "delivered_at": None} == {
        name: value for name, value in endpoint.items() if name != "secret"
    }
    listed = client.get("/v1/webhook-endpoints")
    assert [each["id"] for each in listed.json()["webhook_endpoints"]] == [endpoint["id"]]
    assert endpoint["secret"] not in listed.text
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    assert client.delete(path, headers=theirs.headers).status_code == 404
    assert client.delete(path).status_code == 204
    assert code_of(client.get(path)) == (404, "not_found")
    assert found_under(system_settings.home_path) == {}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "url"),
        ({"url": "http://93.184.216.34/hook"}, "url"),
        ({"url": "https://10.0.0.1/hook"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://localhost/hook"}, "url"),
        ({"url": "https://93.184.216.34:8443/hook"}, "url"),
        ({"url": "https://user:planted2f71@93.184.216.34/"}, "url"),
        ({"url": "https://93.184.216.34/hook?a=planted2f71 "}, "url"),
        ({"url": "ftp://93.184.216.34/"}, "url"),
        ({"url": "https://93.184.216.34/", "events": []}, "events"),
        ({"url": "https://93.184.216.34/", "events": ["agent.upsert"]}, "events.0"),
        ({"url": "https://93.184.216.34/", "secret": "planted2f71"}, "…"),
    ],
    ids=str,
)
def test_where_no_webhook_may_go_no_endpoint_is_made(
    client: httpx.Client, asked: dict[str, object], param: str
) -> None:
    made = client.post("/v1/webhook-endpoints", json={"url": "https://93.184.216.34/"}).json()
    path = f"/v1/webhook-endpoints/{made['id']}"
    answers = [client.post("/v1/webhook-endpoints", json=asked)]
    answers += [client.put(path, json=asked)] if asked else []
    for answer in answers:
        assert code_of(answer) == (422, "validation_error")
        assert answer.json()["param"] == param
        assert "2f71" not in answer.text
    assert client.get(path).json() == {k: v for k, v in made.items() if k != "secret"}
    client.delete(path).raise_for_status()


def test_an_account_has_twenty_endpoints_at_most(client: httpx.Client) -> None:
    made = []
    for number in range(21):
        asked = {
            "url": f"https://93.184.216.34/{number}?key=a%20b",
            "events": ["config_event.dead"],
        }
        answer = client.post("/v1/webhook-endpoints", json=asked)
        if answer.status_code == 201:
            made.append(answer.json())
    assert code_of(answer) == (422, "validation_error")
    assert made[0]["url"] == "https://93.184.216.34/0?key=a%20b"
    for each in made:
        client.delete(f"/v1/webhook-endpoints/{each['id']}").raise_for_status()
