"""The ways in beside REST, each with a planted key: batch, webhook, queue message, file.

What they answer and print is kept in `told`, for the search.
"""

import base64
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from schemas.ids import agent_id_of, new_id
from tests.servers.planted import planted
from tests.servers.system import System, clean_environment, command
from tests.servers.waiting import wait_for
from tests.servers.webhooks import Sender, event_body, new_sender, upsert_body

PAGE = (Path(__file__).parents[2] / "docs" / "queue.md").read_text()
MAKE, _, BY_REDIS, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NDJSON = {"Content-Type": "application/x-ndjson"}


@dataclass
class WaysIn:
    """A running system, where models may be, and what was told so far."""

    system: System
    model_url: str
    told: list[bytes]
    environment: dict[str, str]
    client: httpx.Client
    sender: Sender
    sent: list[tuple[bytes, str]] = field(default_factory=list)

    def keep(self, answer: httpx.Response) -> int:
        self.told.append(answer.content + repr(answer.headers).encode())
        return answer.status_code

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `edgewise` as the operator of this system."""
        done = subprocess.run(
            [command("edgewise"), *words],
            cwd=self.system.home.parent,
            env=clean_environment(**self.environment, **environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.told += [done.stdout.encode(), done.stderr.encode()]
        return done

    def llm(self, name: str, url: str | None = None) -> list[dict[str, str]]:
        entry = {"base_url": url or self.model_url, "model": "mine", "api_key": planted(name)}
        return [entry]

    def row(self, name: str, **changes: object) -> dict[str, object]:
        fields = {"name": name, "system_prompt": "b", "voice": {"voice_id": "ivy"}}
        return {"external_id": name, **fields, "llm": self.llm(name), **changes}

    def batch(self, *rows: object) -> str:
        body = b"".join(
            (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n"
            for each in rows
        )
        answer = self.client.post("/v1/batches", content=body, headers=NDJSON)
        assert self.keep(answer) == 202, answer.text
        return str(answer.json()["id"])

    def outcome(self, batch: str) -> dict[str, Any]:
        """Wait until a batch is done, and return its counts."""
        return wait_for("the batch is done", lambda: self._ended(batch), within=60)

    def _ended(self, batch: str) -> dict[str, Any] | None:
        answer = self.client.get(f"/v1/batches/{batch}")
        self.keep(answer)
        self.keep(self.client.get(f"/v1/batches/{batch}/errors"))
        found: dict[str, Any] = answer.json()
        return found if found["status"] == "done" else None

    def webhook(self, body: bytes, signature: str | None = None) -> int:
        webhook_id = new_id("msg")
        self.sent.append((body, webhook_id))
        if signature is None:
            return self.keep(self.sender.send(body, webhook_id))
        headers = {"webhook-signature": signature}
        return self.keep(self.sender.send(body, webhook_id, at=None, **headers))

    def message(self, name: str, url: str | None = None) -> None:
        """Run the program of the page on queue messages with another key and name."""
        swaps = {
            "my-model-key": planted(name),
            "my-token": planted(name),
            "front-desk": name,
            "crm-4711-7": name,
            "https://8.8.8.8/v1": url or self.model_url,
        }
        program = MAKE + BY_REDIS
        for old, new in swaps.items():
            program = program.replace(old, new)
        public = (self.system.home / "keys" / "sealing.public").read_text()
        subprocess.run(
            [sys.executable, "-"],
            input=program.encode(),
            env=clean_environment(
                BROKER_URL=f"unix://{self.system.home / 'redis' / 'redis.sock'}",
                EDGEWISE_SEALING_PUBLIC_KEY=public,
            ),
            check=True,
            timeout=60,
        )

    def apply(self, name: str, **changes: object) -> int:
        """Apply a file that names its key by a variable."""
        file = self.system.home.parent / f"{name}.yaml"
        file.write_text(json.dumps([self.row(name, llm=self.llm_by_variable(), **changes)]))
        return self.run("apply", str(file), PLANTED_KEY=planted(name)).returncode

    def llm_by_variable(self) -> list[dict[str, str]]:
        return [{"base_url": self.model_url, "model": "mine", "api_key": "${PLANTED_KEY}"}]

    def arrives(self, *names: str) -> None:
        """Wait until there are agents of these names."""
        for name in names:
            path = f"/v1/agents/{agent_id_of('default', name)}"
            there = partial(self._is_there, path)
            wait_for(f"{name} is there", there, within=60)

    def _is_there(self, path: str) -> bool:
        return self.keep(self.client.get(path)) == 200

    def events(self) -> list[dict[str, Any]]:
        """Return what the operator sees of all events."""
        done = self.run("events", "list", "--json", "--limit", "10000")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def ways_in(
    system: System, model_url: str, told: list[bytes], database_url: str | None
) -> Iterator[WaysIn]:
    """Make a source of webhooks, its secret planted too, and yield the ways in."""
    environment = {
        "EDGEWISE_HOME": str(system.home),
        "EDGEWISE_SERVER": system.url,
        "EDGEWISE_API_KEY": system.api_key,
        "EDGEWISE_LOG_LEVEL": "DEBUG",
        "EDGEWISE_DATABASE_URL": database_url or "",
    }
    secret = "whsec_" + base64.b64encode(planted("source").encode()).decode()
    with httpx.Client(base_url=system.url, headers=system.headers, timeout=30) as client:
        sender = new_sender(client, "planted", secret=secret)
        yield WaysIn(system, model_url, told, environment, client, sender)


def succeed(ways: WaysIn) -> None:
    """Come in by each way."""
    batch = ways.batch(ways.row("batched"), ways.row("batched-too"))
    assert ways.webhook(upsert_body("hooked", llm=ways.llm("hooked"))) == 202
    ways.message("queued")
    assert ways.apply("filed") == 0
    assert ways.outcome(batch)["failed"] == 0
    ways.arrives("batched", "batched-too", "hooked", "queued", "filed")
    rotation = event_body("agent.llm.rotate", external_id="hooked", api_key=planted("rotated"))
    assert ways.webhook(rotation) == 202


def be_refused(ways: WaysIn) -> None:
    """Be refused on each way: by form, by what it says, and only once it is looked at."""
    private = ways.llm("private", "https://127.0.0.1/v1")
    batch = ways.batch(
        ways.row("bad-url", llm=private),
        ways.row("bad-key", llm=[{**ways.llm("bad")[0], "api_key": f"{planted('bad')} "}]),
        ways.row("bad-field", **{planted("field"): planted("value")}),
        f'{{"llm": "{planted("cut")}'.encode(),
    )
    assert ways.outcome(batch)["failed"] == 4
    hooked = upsert_body("bad-hook", llm=ways.llm("bad-hook"))
    assert ways.webhook(hooked, "v1,AAAA") == 401
    assert ways.webhook(upsert_body("bad-hook", llm=private)) == 422
    assert ways.webhook(hooked[:-2]) == 422
    nobody = event_body("agent.llm.rotate", external_id="nobody", api_key=planted("nobody"))
    assert ways.webhook(nobody) == 202
    ways.message("bad-queued", "https://127.0.0.1/v1")
    with ways.system.redis() as redis:
        redis.lpush("config", "no message")
    assert ways.apply("bad-file", voice={"voice_id": "nobody"}) == 1
    wait_for("both are looked at", lambda: len(_rejected(ways)) >= 2, within=30)


def _rejected(ways: WaysIn) -> list[dict[str, Any]]:
    return [event for event in ways.events() if event["status"] == "rejected"]


def be_cut_off(ways: WaysIn) -> None:
    """Come in by each way while the config worker is held, then killed; and so is the next."""
    pid = ways.system.part("config")
    assert pid is not None
    worker = psutil.Process(pid)
    worker.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        filed = pool.submit(ways.apply, "filed-in-trouble")
        batches = [ways.batch(*(ways.row(f"batched-{n}") for n in range(50)))]
        assert ways.webhook(upsert_body("hooked-in-trouble", llm=ways.llm("hooked-2"))) == 202
        ways.message("queued-in-trouble")
        worker.send_signal(signal.SIGKILL)
        second = wait_for("a second worker", lambda: _other_worker(ways, pid), within=30)
        batches.append(
            ways.batch(*(ways.row(f"batched-{n}", system_prompt="c") for n in range(50)))
        )
        ways.arrives("batched-0")
        psutil.Process(second).kill()
        wait_for("a third worker", lambda: _other_worker(ways, second), within=30)
        for batch in batches:
            assert ways.outcome(batch)["failed"] == 0
        assert filed.result() == 0
    ways.arrives("hooked-in-trouble", "queued-in-trouble", "filed-in-trouble")


def _other_worker(ways: WaysIn, pid: int) -> int | None:
    now = ways.system.part("config")
    return None if now == pid else now


def come_again(ways: WaysIn) -> None:
    """Send what was sent before, and look at it all as an operator does."""
    for body, webhook_id in ways.sent[:2]:
        assert ways.keep(ways.sender.send(body, webhook_id)) == 202
    ways.message("queued")
    wait_for("all is settled", lambda: not _unsettled(ways), within=60)
    one_of_each = {(event["status"], event["kind"]): event["id"] for event in ways.events()}
    for event_id in one_of_each.values():
        assert ways.run("events", "show", event_id).returncode == 0
    ways.run("events", "retry", event_id)
    assert ways.run("events", "list").returncode == 0
    assert ways.run("webhooks", "list").returncode == 0
    assert ways.run("export", "--format", "yaml").returncode == 0


def _unsettled(ways: WaysIn) -> list[dict[str, Any]]:
    settled = {"applied", "rejected", "withdrawn", "dead"}
    return [event for event in ways.events() if event["status"] not in settled]
