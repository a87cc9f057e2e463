"""A planted key goes every way in and through every trouble, and is found nowhere afterwards."""

import contextlib
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.acceptance.model import Model
from tests.acceptance.talking import talk
from tests.acceptance.ways_in import (
    WaysIn,
    be_cut_off,
    be_refused,
    come_again,
    succeed,
    ways_in,
)
from tests.servers.planted import found_in, found_in_redis, found_under, planted
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.system import System, running_system
from tests.servers.waiting import wait_for
from tests.servers.webhook_receiver import Receiver, running_receiver

AGENT: dict[str, object] = {
    "name": "Ada",
    "system_prompt": "You are Ada.",
    "voice": {"voice_id": "ivy"},
}


def entry(url: str, name: str, **changes: object) -> dict[str, object]:
    return {"base_url": url, "model": "mine", "api_key": planted(name), **changes}


def tool(name: str, url: str = "https://8.8.8.8/tool") -> dict[str, object]:
    headers = [{"name": "Authorization", "value": f"Bearer {planted(name)}"}]
    http = {"url": url, "headers": headers}
    return {"name": "weather", "description": "Tells it.", "http": http}


@pytest.fixture(params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres | None]:
    if request.param == "sqlite":
        yield None
        return
    with running_postgres() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_planted_key_is_found_nowhere_after_success_rejection_crash_and_retry(
    go_forward: Path, postgres: Postgres | None
) -> None:
    database = postgres.new_database() if postgres else None
    told: list[bytes] = []
    with (
        Model() as model,
        running_receiver() as receiver,
        running_system(
            EDGEWISE_LLM_ALLOW=urlsplit(model.url).netloc,
            EDGEWISE_WEBHOOK_ALLOW=urlsplit(receiver.url).netloc,
            EDGEWISE_LOG_LEVEL="DEBUG",
            EDGEWISE_TURN_WORKERS="1",
            EDGEWISE_CONFIG_LEASE_S="1.5",
            EDGEWISE_DATABASE_URL=database or "",
        ) as system,
        ways_in(system, model.url, told, database) as ways,
    ):
        listen(ways, receiver)
        agent = configure(system, model, told)
        succeed(ways)
        be_refused(ways)
        converse(system, model, agent, go_forward, told)
        crash(system, model, agent, told)
        be_cut_off(ways)
        come_again(ways)
        measured(system, told)
        told += [each.body.encode() + repr(each.headers).encode() for each in receiver.received]
        assert receiver.of_type("config_event.applied")
        told += [name.encode() for name in cmdlines(system)]
        assert [content for content in told if found_in(content)] == []
        with system.redis() as redis:
            assert found_in_redis(redis) == {}
        assert found_under(system.home.parent) == {}
        system.stop()
        assert found_under(system.home.parent) == {}
        if postgres:
            assert found_under(postgres.folder) == {}


def listen(ways: WaysIn, receiver: Receiver) -> None:
    """Have config results and session ends told to a receiver that fails, and repeats a key."""
    receiver.status, receiver.body = 500, planted("receiver").encode()
    answer = ways.client.post("/v1/webhook-endpoints", json={"url": receiver.url})
    assert ways.keep(answer) == 201


def call(
    system: System,
    told: list[bytes],
    method: str,
    path: str,
    *,
    json: object = None,
    content: str | None = None,
) -> int:
    answer = httpx.request(
        method,
        f"{system.url}{path}",
        headers=system.headers,
        timeout=20,
        json=json,
        content=content,
    )
    told.append(answer.content + repr(answer.headers).encode())
    return answer.status_code


def configure(system: System, model: Model, told: list[bytes]) -> str:
    """Create, change and be refused; return the agent's id."""
    created = httpx.post(
        f"{system.url}/v1/agents",
        json={
            **AGENT,
            "llm": [entry(model.url, "created")],
            "tools": [tool("created-tool")],
        },
        headers=system.headers,
        timeout=20,
    )
    told.append(created.content)
    agent = str(created.json()["id"])
    path = f"/v1/agents/{agent}"
    assert call(system, told, "PUT", path, json={"llm": [entry(model.url, "put")]}) == 200
    assert call(system, told, "PUT", path, json={"tools": [tool("put-tool")]}) == 200
    for url in ("https://127.0.0.1", f"https://8.8.8.8/?{planted('query')}"):
        refused = {"tools": [tool("refused-tool", url)]}
        assert call(system, told, "PUT", path, json=refused) == 422
    for url in ("https://127.0.0.1", "https://no-such-name.example.net", f"https://{planted('x')}"):
        body = {**AGENT, "llm": [entry(url, "refused")]}
        assert call(system, told, "POST", "/v1/agents", json=body) == 422
    wrong: list[dict[str, object]]
    wrong = [{"region": "x"}, {"model": 1}, {"api_key": f"{planted('bad')} "}]
    for bad in wrong:
        body = {**AGENT, "llm": [entry(model.url, "bad", **bad)]}
        assert call(system, told, "POST", "/v1/agents", json=body) == 422
    assert call(system, told, "POST", "/v1/agents", content=planted("text")) == 415
    call(system, told, "GET", path)
    call(system, told, "GET", "/v1/agents")
    call(system, told, "GET", "/metrics")
    return agent


def converse(system: System, model: Model, agent: str, go_forward: Path, told: list[bytes]) -> None:
    """Talk to the model in good and in bad times; it repeats a key in its errors."""
    model.says("Yes.")
    good = talk(system, agent, go_forward)
    assert good.turn["reply_text"] == "Yes."
    assert planted("put") in model.requests[-1].headers["authorization"]
    with model.answers_500():
        failed = talk(system, agent, go_forward)
    told += [good.stdout.encode(), good.stderr.encode(), failed.stdout.encode()]
    told.append(failed.stderr.encode())
    page = httpx.get(f"{system.url}/v1/sessions", headers=system.headers, timeout=20)
    sessions = page.json()["sessions"]
    assert len(sessions) == 2
    for session in sessions:
        assert call(system, told, "GET", f"/v1/sessions/{session['id']}") == 200
    assert b"Yes." in told[-1]


def crash(system: System, model: Model, agent: str, told: list[bytes]) -> None:
    """Kill the config worker with a change in its hands; the next one finds it."""
    pid = system.part("config")
    assert pid is not None
    worker = psutil.Process(pid)
    path = f"/v1/agents/{agent}"
    for name in ("withdrawn", "retried"):
        worker.send_signal(signal.SIGSTOP)
        body = {"llm": [entry(model.url, name)], "tools": [tool(name)]}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call, system, told, "PUT", path, json=body)
            if name == "retried":
                worker.send_signal(signal.SIGKILL)
                wait_for("a new config worker", lambda: system.part("config") != pid)
            assert answer.result() in ({503} if name == "withdrawn" else {200, 503})
        if name == "withdrawn":
            worker.send_signal(signal.SIGCONT)
    wait_for("a ready system", system.is_ready, within=30)
    assert call(system, told, "DELETE", path) == 204


def measured(system: System, told: list[bytes]) -> None:
    """Read what is counted and described for machines."""
    for part, paths in {
        "gateway": ("/openapi.json", "/readyz", "/v1/sealing-key", "/v1/sessions"),
        "llm-gateway": ("/metrics", "/v1/models"),
    }.items():
        url = json.loads((system.home / "run" / f"{part}.json").read_text())["url"]
        for path in paths:
            answer = httpx.get(f"{url}{path}", headers=system.headers, timeout=20)
            assert answer.status_code == 200, (path, answer.text)
            told.append(answer.content)


def cmdlines(system: System) -> list[str]:
    """Return the command lines of what runs; the child that rewrites Redis' file may be gone."""
    found = []
    for process in system.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(" ".join(process.cmdline()))
    return found
