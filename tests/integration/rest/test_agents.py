"""Agents over REST, through the queue and the config worker, on both databases."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.servers.parts import Part
from tests.servers.waiting import wait_for

AGENT = {
    "name": "Front desk",
    "system_prompt": "You answer the phone of a hotel. Ünïcödé 🛎️",
    "voice": {"voice_id": "ivy"},
}


def create(client: httpx.Client, **fields: object) -> dict[str, object]:
    answer = client.post("/v1/agents", json={**AGENT, **fields})
    assert answer.status_code == 201, answer.text
    record: dict[str, object] = answer.json()
    return record


def test_a_new_agent_is_answered_whole_with_its_defaults(client: httpx.Client) -> None:
    record = create(client, greeting="Good morning.")
    assert re.fullmatch("agent_[0-9a-f]{32}", str(record["id"]))
    assert {key: record[key] for key in AGENT} == AGENT
    assert record["greeting"] == "Good morning."
    assert record["llm"] == []
    assert record["output"] == {
        "format": {"encoding": "audio/pcm", "sample_rate": None},
        "volume": 100,
    }
    assert str(record["created_at"]).endswith("Z")
    age = datetime.now(UTC) - datetime.fromisoformat(str(record["created_at"]))
    assert 0 <= age.total_seconds() < 30


def test_what_was_created_reads_back_the_same(client: httpx.Client) -> None:
    record = create(client)
    assert client.get(f"/v1/agents/{record['id']}").json() == record


def test_every_field_is_kept_as_it_was_given(client: httpx.Client) -> None:
    given = {
        "input": {
            "format": {"encoding": "audio/pcmu", "sample_rate": 8000},
            "keyterms": ["Zermatt", "ski pass"],
            "turn_detection": {
                "vad_threshold": 0.7,
                "min_silence": 300,
                "max_silence": 1200,
                "interrupt_response": False,
                "interruption_delay": 250,
            },
        },
        "output": {"format": {"encoding": "audio/pcma", "sample_rate": None}, "volume": 0},
    }
    record = create(client, **given)
    assert {key: record[key] for key in given} == given


def test_the_list_runs_newest_first_and_its_cursor_goes_through_all(client: httpx.Client) -> None:
    made = [str(create(client, name=f"agent {number}")["id"]) for number in range(5)]
    seen: list[str] = []
    cursor = None
    while len(seen) < 5:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/agents", params=params).json()
        assert set(page["agents"][0]) == {"id", "name", "created_at", "updated_at", "llm"}
        seen += [agent["id"] for agent in page["agents"]]
        cursor = page["response_metadata"]["next_cursor"]
        assert page["has_more"] is (cursor is not None)
    assert seen[:5] == made[::-1]


def test_the_end_of_the_list_says_so(client: httpx.Client) -> None:
    create(client)
    page = client.get("/v1/agents?limit=200").json()
    assert page["has_more"] is False
    assert page["response_metadata"] == {"next_cursor": None}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "cursor=%00"]
)
def test_a_list_cannot_be_asked_for_nonsense(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/agents?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["param"] == query.partition("=")[0]


@pytest.mark.parametrize("agent_id", ["agent_" + "0" * 32, "agent_x", "x" * 3_000, "%00", "..%2f"])
def test_an_agent_that_is_not_there_is_a_404(client: httpx.Client, agent_id: str) -> None:
    answer = client.get(f"/v1/agents/{agent_id}")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"agent_not_found", "not_found"}


def test_the_voices_are_those_an_agent_may_have(client: httpx.Client) -> None:
    voices = client.get("/v1/voices").json()["voices"]
    assert len(voices) >= 2
    for voice in voices:
        create(client, voice={"voice_id": voice["voice_id"]})


def test_many_callers_at_once_each_get_their_own_agent(client: httpx.Client) -> None:
    with ThreadPoolExecutor(32) as pool:
        records = list(pool.map(lambda n: create(client, name=f"n{n}"), range(96)))
    assert len({record["id"] for record in records}) == 96
    assert [record["name"] for record in records] == [f"n{n}" for n in range(96)]


def test_no_call_is_answered_late_by_waiting_for_the_worker(client: httpx.Client) -> None:
    create(client)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        create(client)
        took.append(time.perf_counter() - began)
    assert sorted(took)[10] < 0.5


def test_every_route_wants_the_key(client: httpx.Client) -> None:
    for method, path in [
        ("POST", "/v1/agents"),
        ("GET", "/v1/agents"),
        ("GET", "/v1/agents/agent_x"),
        ("GET", "/v1/voices"),
        ("POST", "/v1/agents/agent_x/sessions"),
        ("DELETE", "/v1/sessions/session_x"),
    ]:
        answer = client.request(method, path, headers={"Authorization": "Bearer wrong"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path


def test_the_key_and_what_is_refused_stay_out_of_the_log(
    gateway: tuple[Part, httpx.Client],
) -> None:
    part, client = gateway
    planted = "sk-planted-2f71"
    entry = {"base_url": "https://x.example", "model": "m", "api_key": planted}
    answer = client.post(f"/v1/agents?token={planted}", json={**AGENT, "llm": [entry]})
    assert answer.status_code == 422
    client.get("/v1/voices", headers={"Authorization": f"Bearer {planted}"})
    request_id = answer.headers["x-request-id"]
    wait_for("the call is logged", lambda: part.logged(request_id))
    for secret in (planted, "test-key-0123456789"):
        assert secret not in answer.text
        assert not part.logged(secret)
