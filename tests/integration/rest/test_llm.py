"""Agents with a model of their own over REST, on both databases."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.integration.rest.test_agents import AGENT, create
from tests.servers.parts import Part, client_of, environment
from tests.servers.planted import found_in, found_in_redis, found_under, planted
from tests.servers.waiting import wait_for
from workers.secrets.key_files import keys_folder
from workers.secrets.sealing import READ_AGAIN_S
from workers.settings import Settings

URL = "https://8.8.8.8/v1"
"""Public without a look-up; nothing is sent there."""
JSON = {"Content-Type": "application/json"}
ENTRY = {"base_url": URL, "model": "m", "api_key": "sk-rest-1"}
VIEW = {"base_url": URL, "model": "m"}


@pytest.fixture
def keys(system_settings: Settings) -> Path:
    return keys_folder(system_settings.home_path)


def put(client: httpx.Client, agent: object, **fields: object) -> httpx.Response:
    return client.put(f"/v1/agents/{agent}", json=fields)


def test_reads_give_base_url_and_model_and_never_the_key(client: httpx.Client) -> None:
    record = create(client, llm=[ENTRY])
    assert record["llm"] == [VIEW]
    assert client.get(f"/v1/agents/{record['id']}").json() == record
    listed = client.get("/v1/agents").json()["agents"]
    assert next(agent["llm"] for agent in listed if agent["id"] == record["id"]) == [VIEW]


def test_a_base_url_is_kept_in_its_one_form(client: httpx.Client) -> None:
    record = create(client, llm=[{**ENTRY, "base_url": "HTTPS://8.8.8.8:443/v1/"}])
    assert record["llm"] == [VIEW]


def test_a_put_keeps_what_is_left_out_and_replaces_what_is_given_whole(
    client: httpx.Client,
) -> None:
    given = {"turn_detection": {"min_silence": 300}, "keyterms": ["Zermatt"]}
    record = create(client, llm=[ENTRY], greeting="Hello.", input=given)
    changed = put(client, record["id"], name="Other", input={"keyterms": ["Bern"]}).json()
    kept = {"system_prompt", "voice", "greeting", "output", "llm", "id", "created_at"}
    assert {name: changed[name] for name in kept} == {name: record[name] for name in kept}
    assert changed["name"] == "Other"
    assert changed["input"]["keyterms"] == ["Bern"]
    assert changed["input"]["turn_detection"]["min_silence"] is None
    assert changed["updated_at"] > str(record["updated_at"])
    assert put(client, record["id"], greeting=None).json()["greeting"] is None
    assert put(client, record["id"]).json()["name"] == "Other"
    assert put(client, record["id"], llm=[]).json()["llm"] == []
    assert put(client, record["id"], llm=[{**ENTRY, "model": "n"}]).json()["llm"] == [
        {**VIEW, "model": "n"}
    ]
    assert client.get(f"/v1/agents/{record['id']}").json()["llm"] == [{**VIEW, "model": "n"}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"llm": None}, "llm"),
        ({"name": None}, "name"),
        ({"voice": {"voice_id": "nobody"}}, "voice"),
        ({"system_promt": "x"}, "…"),
        ({"llm": [ENTRY, ENTRY]}, "llm"),
        ({"llm": [VIEW]}, "llm.0.api_key"),
        ({"llm": [{**ENTRY, "api_key": planted("long") * 100}]}, "llm.0.api_key"),
        ({"llm": [{**ENTRY, "base_url": "https://10.0.0.1/v1"}]}, "llm.0.base_url"),
        ({"llm": [{**ENTRY, "base_url": "http://8.8.8.8"}]}, "llm.0.base_url"),
        ({"llm": [{**ENTRY, "base_url": "https://x:y@8.8.8.8"}]}, "llm.0.base_url"),
        ({"llm": [{**ENTRY, "base_url": "https://no-such-name.example.net"}]}, "llm.0.base_url"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    client: httpx.Client, fields: dict[str, object], param: str
) -> None:
    record = create(client, llm=[ENTRY])
    answer = put(client, record["id"], **fields)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert found_in(answer.content) == []
    assert "sk-rest-1" not in answer.text
    assert client.get(f"/v1/agents/{record['id']}").json() == record


def test_a_deleted_agent_is_gone(client: httpx.Client) -> None:
    record = create(client, llm=[ENTRY])
    answer = client.delete(f"/v1/agents/{record['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "PUT", "DELETE"):
        gone = client.request(method, f"/v1/agents/{record['id']}", json={})
        assert (gone.status_code, gone.json()["code"]) == (404, "agent_not_found"), method
    listed = client.get("/v1/agents?limit=200").json()["agents"]
    assert record["id"] not in {agent["id"] for agent in listed}


def test_of_many_changes_at_once_the_one_that_was_accepted_last_stays(
    client: httpx.Client,
) -> None:
    record = create(client)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: put(client, record["id"], name=f"n{n}"), range(48)))
    assert {answer.status_code for answer in answers} == {200}
    last = max((answer.json() for answer in answers), key=lambda agent: agent["updated_at"])
    assert client.get(f"/v1/agents/{record['id']}").json()["name"] == last["name"]


def test_no_key_is_anywhere_but_in_its_envelope(
    request: pytest.FixtureRequest,
    client: httpx.Client,
    system_settings: Settings,
) -> None:
    answers = []

    def send(method: str, path: str, name: str, **fields: object) -> httpx.Response:
        entry = {**ENTRY, "api_key": planted(name), **fields}
        answers.append(client.request(method, path, json={**AGENT, "llm": [entry]}))
        return answers[-1]

    agent = send("POST", "/v1/agents", "created").json()["id"]
    send("PUT", f"/v1/agents/{agent}", "changed")
    send("POST", "/v1/agents", "blocked", base_url="https://127.0.0.1")
    send("POST", "/v1/agents", "unresolved", base_url="https://no-such-name.example.net")
    send("POST", "/v1/agents", "unknown", region="x")
    send("PUT", f"/v1/agents/{agent}", "model", model=["x"])
    cut = f'{{"llm": "{planted("cut")}'.encode()
    answers.append(client.post("/v1/agents", content=cut, headers=JSON))
    answers.append(client.post("/v1/agents", json={**AGENT, planted("name"): planted("value")}))
    answers.append(client.post("/v1/agents", content=cut))
    answers.append(client.get("/v1/agents"))
    answers.append(client.get(f"/v1/agents/{agent}"))
    answers.append(client.get("/openapi.json"))
    for answer in answers:
        assert found_in(answer.content + repr(answer.headers).encode()) == []
    assert [answer.status_code for answer in answers[:9]] == [201, 200, *[422] * 6, 415]

    with Redis.from_url(system_settings.redis_url or "") as redis:
        assert found_in_redis(redis) == {}
    assert found_under(system_settings.home_path) == {}
    if system_settings.database.startswith("postgresql"):
        assert found_under(request.getfixturevalue("postgres").folder) == {}


def test_without_a_public_key_only_agents_with_models_of_their_own_are_refused(
    keys: Path, client: httpx.Client
) -> None:
    public = keys / "sealing.public"
    hidden = public.rename(keys / "hidden")

    def refused() -> httpx.Response | None:
        answer = client.post("/v1/agents", json={**AGENT, "llm": [ENTRY]})
        return None if answer.status_code == 201 else answer

    try:
        answer = wait_for("the key is missed", refused, within=READ_AGAIN_S + 2)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
        create(client)
    finally:
        hidden.rename(public)
    create(client, llm=[ENTRY])


AUDITED = """
import sys

def audit(event, arguments):
    if event == "open" and "/keys/" in str(arguments[0]):
        print("opened", arguments[0], file=sys.stderr, flush=True)

sys.addaudithook(audit)
from workers.main import app
app(["gateway"])
"""


@pytest.mark.usefixtures("gateway")
def test_the_gateway_opens_no_key_file_but_the_public_one(system_settings: Settings) -> None:
    home = system_settings.home_path
    log = home / "audited.log"
    run_file = home / "run" / "gateway.json"
    before = run_file.read_text()
    try:
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", AUDITED],
                cwd=home,
                env=environment(system_settings),
                stderr=stream,
            )
        try:
            with client_of(system_settings, Part(process, log), "gateway") as audited:
                create(audited, llm=[ENTRY])
        finally:
            process.kill()
            process.wait(5)
    finally:
        run_file.write_text(before)
    opened = {line for line in log.read_text().splitlines() if line.startswith("opened ")}
    assert opened == {f"opened {keys_folder(home) / 'sealing.public'}"}
