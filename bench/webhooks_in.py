"""How long a sender of webhooks waits for its 202, at fifty a second, on both databases.

Each webhook is an `agent.upsert` with a model and its key, signed by the sender, so it is
verified, its key sealed, and written down with its event before it is answered; a config worker
applies what was accepted at the same time. Webhooks are sent when they are due, whether or not
those before them were answered, and the wait is counted from then.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr

from bench.figure import Figure, NotMeasuredError, percentile
from bench.systems import measured_system
from schemas.ids import new_id
from tests.servers.postgres import running_postgres
from tests.servers.system import System
from workers.webhooks.signature import key_of, signed_headers

A_SECOND = 50
SECONDS, QUICK_SECONDS = 20.0, 6.0
WARM_UP = 50
AGENTS = 200
ENTRY = {"base_url": "https://8.8.8.8/v1", "model": "bench", "api_key": "no-secret-at-all"}
"""Nothing is sent there: nobody talks to these agents, and the probe is off."""


def run(*, quick: bool) -> list[Figure]:
    """Return the 99th percentile of the wait on SQLite and on PostgreSQL."""
    seconds = QUICK_SECONDS if quick else SECONDS
    figures = []
    for name, database in _databases():
        with database as url:
            more = {"EDGEWISE_DATABASE_URL": url} if url else {}
            with measured_system(EDGEWISE_LLM_PROBE_EVERY_S="0", **more) as system:
                waits = asyncio.run(_measure(system, int(A_SECOND * seconds)))
        note = (
            f"p50 {percentile(waits, 0.5):.1f} ms, p95 {percentile(waits, 0.95):.1f} ms, "
            f"max {max(waits):.0f} ms of {len(waits)}"
        )
        what = f"signed webhook to 202 at {A_SECOND} a second, {name}, p99"
        figures.append(Figure(what, percentile(waits, 0.99), "ms", 50, note=note))
    return figures


def _databases() -> Iterator[tuple[str, "contextlib.AbstractContextManager[str | None]"]]:
    yield "SQLite", contextlib.nullcontext(None)
    yield "PostgreSQL", _postgres()


@contextlib.contextmanager
def _postgres() -> Iterator[str | None]:
    with running_postgres() as server:
        yield server.new_database()


async def _measure(system: System, count: int) -> list[float]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=system.url, timeout=10, limits=limits, trust_env=False
    ) as client:
        made = await client.put("/v1/sources/bench", headers=system.headers)
        source = made.raise_for_status().json()
        sender = _Sender(client, source["url"], source["secret"])
        await sender.send_at_a_steady_pace(WARM_UP)
        return await sender.send_at_a_steady_pace(count)


class _Sender:
    def __init__(self, client: httpx.AsyncClient, url: str, secret: str) -> None:
        self._client = client
        self._url = url
        self._key = key_of("standard", SecretStr(secret))

    async def send_at_a_steady_pace(self, count: int) -> list[float]:
        """Send so many webhooks; return each one's wait in milliseconds."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._send(number, began + number / A_SECOND))
                for number in range(count)
            ]
        return [task.result() for task in tasks]

    async def _send(self, number: int, due: float) -> float:
        body = _body(number)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        headers = signed_headers(new_id("msg"), body, [self._key], time.time())
        answer = await self._client.post(self._url, content=body, headers=headers)
        if answer.status_code != httpx.codes.ACCEPTED:
            raise NotMeasuredError(f"a webhook was answered with {answer.status_code}")
        return 1000 * (time.perf_counter() - due)


def _body(number: int) -> bytes:
    agent = {
        "external_id": f"bench-{number % AGENTS}",
        "name": f"Agent {number}",
        "system_prompt": "You answer the phone of a small hotel. " * 20,
        "voice": {"voice_id": "ivy"},
        "llm": [ENTRY],
    }
    moment = datetime.now(UTC).isoformat()
    return json.dumps({"type": "agent.upsert", "timestamp": moment, "data": agent}).encode()
