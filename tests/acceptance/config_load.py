"""Writers of configuration that remember what they were promised."""

import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.servers.system import System

AGENT = {"system_prompt": "b", "voice": {"voice_id": "ivy"}}
MODEL = {"base_url": "https://9.9.9.9/v1", "model": "m"}


@dataclass
class Promises:
    """What a writer was told of its changes, by the names that they set."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    """Names with a 2xx, in order, by agent."""
    refused: set[str] = field(default_factory=set)
    """Names with a 503: nothing happened."""
    unknown: set[str] = field(default_factory=set)
    """Names whose answer was cut off."""
    strange: list[str] = field(default_factory=list)
    """Answers that are neither."""


class Writer(threading.Thread):
    """Changes its own agents, one REST call after another, until it is told to stop."""

    def __init__(self, system: System, number: int, agents: int, stop: threading.Event) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._system = system
        self._number = number
        self._agents = [system.agent(name=f"start-{number}-{each}") for each in range(agents)]
        self._stop_now = stop
        self.promises = Promises({agent: [] for agent in self._agents})

    def run(self) -> None:
        count = 0
        with _client(self._system) as client:
            while not self._stop_now.is_set():
                agent = self._agents[count % len(self._agents)]
                self._change(client, agent, f"rest-{self._number}-{count}")
                count += 1

    def _change(self, client: httpx.Client, agent: str, name: str) -> None:
        try:
            answer = client.put(f"/v1/agents/{agent}", json={"name": name})
        except httpx.HTTPError:
            self.promises.unknown.add(name)
            self._stop_now.wait(0.1)
            return
        if answer.status_code == 200:
            self.promises.kept[agent].append(name)
        elif answer.status_code == 503:
            self.promises.refused.add(name)
            self._stop_now.wait(0.1)
        else:
            self.promises.strange.append(f"{answer.status_code} {answer.text[:200]}")


@dataclass
class Sender:
    """Sends batches, each again and again under one key until it is accepted."""

    system: System
    agents: int
    accepted: dict[str, int] = field(default_factory=dict)
    """How many rows each accepted batch has."""
    last: dict[str, str] = field(default_factory=dict)
    """The name that was sent last for each agent, by its external id."""
    times: dict[str, int] = field(default_factory=dict)
    """How many rows were sent for each agent."""

    def send(self, rows: int, number: int) -> None:
        lines = [self._row(number * rows + each) for each in range(rows)]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"batch-{number}"}
        with _client(self.system) as client:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    answer = client.post("/v1/batches", content=body, headers=headers)
                    if answer.status_code == 202:
                        self.accepted[answer.json()["id"]] = rows
                        return
                    assert answer.status_code in {409, 503}, answer.text
                threading.Event().wait(0.1)
        raise AssertionError(f"batch {number} was never accepted")

    def _row(self, count: int) -> dict[str, Any]:
        external_id = f"fleet-{count % self.agents}"
        self.last[external_id] = f"row-{count}"
        self.times[external_id] = self.times.get(external_id, 0) + 1
        llm = [{**MODEL, "api_key": key_of(f"row-{count}")}]
        return {**AGENT, "external_id": external_id, "name": f"row-{count}", "llm": llm}


def key_of(name: str) -> str:
    """Return the key of the model that comes with this name."""
    return f"sk-{name}"


def _client(system: System) -> httpx.Client:
    return httpx.Client(base_url=system.url, headers=system.headers, timeout=20, trust_env=False)
