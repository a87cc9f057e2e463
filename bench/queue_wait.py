"""How long a turn waits to start while 5,000 config events are queued, on each database.

The events are written down and sent with the config worker held; then it is let go, and turns
are published one after another while it works them off.
"""

import asyncio
import signal
from contextlib import closing

import psutil

from bench.config_writes import databases
from bench.figure import Figure, NotMeasuredError, percentile
from bench.turns import WARM_UP, redis_url, turns_of
from schemas.agent import AgentFields, Voice
from schemas.config_event import AgentUpsert
from schemas.ids import new_id
from tests.servers.system import System
from workers.celery_app import make_celery
from workers.settings import Settings
from workers.storage.database import open_engine, writing
from workers.storage.events.inbox import accept_event, send_event

EVENTS = 5_000
PROBES, QUICK_PROBES = 120, 40
FIELDS = AgentFields(name="a", system_prompt="b", voice=Voice(voice_id="ivy"))


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the wait, for SQLite and PostgreSQL."""
    probes = QUICK_PROBES if quick else PROBES
    with closing(databases()) as each:
        return [
            asyncio.run(_measure(database, system, url, probes)) for database, system, url in each
        ]


async def _measure(database: str, system: System, url: str | None, probes: int) -> Figure:
    worker = psutil.Process(system.part("config") or 0)
    async with turns_of(system, system.agent()) as turns:
        try:
            await turns.probe(WARM_UP)
            worker.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(_queue_events, system, url)
            worker.send_signal(signal.SIGCONT)
            waits = await turns.probe(probes)
            with system.redis() as redis:
                left = redis.llen("config")
        finally:
            worker.send_signal(signal.SIGCONT)
    if not left:
        raise NotMeasuredError("the config events were applied before the turns were through")
    return Figure(
        f"turn-queue wait, {EVENTS:,} config events queued, {database}, p95",
        percentile(waits, 0.95),
        "ms",
        100,
        note=f"p50 {percentile(waits, 0.5):.1f} ms, max {max(waits):.1f} ms of {len(waits)};"
        f" {left:,} messages were left",
    )


def _queue_events(system: System, url: str | None) -> None:
    """Write the events down and send them, as whoever accepts one does."""
    settings = Settings(
        _env_file=None, home=system.home, redis_url=redis_url(system), database_url=url
    )
    engine = open_engine(settings)
    with writing(engine) as connection:
        sent = [
            accept_event(
                connection,
                AgentUpsert(agent_id=new_id("agent"), account="default", agent=FIELDS),
            )
            for _ in range(EVENTS)
        ]
    engine.dispose()
    celery = make_celery(settings, "bench")
    for event_id in sent:
        send_event(celery, event_id)
    celery.close()
