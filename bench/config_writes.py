"""How fast agents are made over REST: one after another, and 32 at once, on each database."""

import asyncio
import time
from collections.abc import Generator
from contextlib import closing

import httpx

from bench.figure import Figure, NotMeasuredError, percentile
from bench.systems import measured_system
from tests.servers.postgres import running_postgres
from tests.servers.system import System

AT_ONCE = 32
ALONE, QUICK_ALONE = 200, 50
TOGETHER, QUICK_TOGETHER = 1_500, 400
WARM_UP = 20
AGENT = {"name": "a", "system_prompt": "You are a.", "voice": {"voice_id": "ivy"}}
CREATED = 201


def run(*, quick: bool) -> list[Figure]:
    """Return the median of a call alone and the rate of 32 at once, for SQLite and PostgreSQL."""
    with closing(databases()) as each:
        return [
            figure
            for database, system, _ in each
            for figure in asyncio.run(_measure(database, system, quick=quick))
        ]


def databases() -> Generator[tuple[str, System, str | None], None, None]:
    """Run a system on each of the two databases in turn; its URL, None for SQLite in the home."""
    with measured_system() as system:
        yield "SQLite", system, None
    with running_postgres() as postgres:
        url = postgres.new_database()
        with measured_system(EDGEWISE_DATABASE_URL=url) as system:
            yield "PostgreSQL", system, url


async def _measure(database: str, system: System, *, quick: bool) -> list[Figure]:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(
        base_url=system.url, headers=system.headers, timeout=20, limits=limits, trust_env=False
    ) as client:
        for _ in range(WARM_UP):
            await _create(client)
        alone = [await _create(client) for _ in range(QUICK_ALONE if quick else ALONE)]
        count = QUICK_TOGETHER if quick else TOGETHER
        rate, waits = await _together(client, count)
    return [
        Figure(
            f"POST /v1/agents, one after another, {database}, p50",
            percentile(alone, 0.5),
            "ms",
            30,
            note=f"p95 {percentile(alone, 0.95):.1f} ms of {len(alone)}",
        ),
        Figure(
            f"POST /v1/agents, {AT_ONCE} at once, {database}",
            rate,
            "/s",
            150,
            "at least",
            note=f"{count} agents; p50 {percentile(waits, 0.5):.0f} ms,"
            f" p95 {percentile(waits, 0.95):.0f} ms",
        ),
    ]


async def _together(client: httpx.AsyncClient, count: int) -> tuple[float, list[float]]:
    """Make so many agents, 32 at any time; return how many a second, and each one's wait in ms."""
    waits: list[float] = []
    left = count

    async def go_on() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            waits.append(await _create(client))

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(go_on(), name=f"caller {number}")
    return count / (time.monotonic() - began), waits


async def _create(client: httpx.AsyncClient) -> float:
    """Make an agent and return how long that took, in milliseconds."""
    began = time.perf_counter()
    answer = await client.post("/v1/agents", json=AGENT)
    if answer.status_code != CREATED:
        raise NotMeasuredError(f"POST /v1/agents answered {answer.status_code}")
    return (time.perf_counter() - began) * 1000
