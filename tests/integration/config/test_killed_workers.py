"""Config workers killed with -9, a Redis that forgets: every event is applied, and once."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy import Engine

from schemas.agent import AgentFields, Voice
from schemas.config_event import AgentUpsert
from schemas.ids import new_id
from tests.servers.parts import Part, configure, environment, flush, running_part
from tests.servers.parts import running_config_worker as running_worker
from tests.servers.waiting import wait_for
from workers.celery_app import make_celery
from workers.settings import Settings
from workers.storage.agents.rows import find_agent
from workers.storage.database import reading, writing
from workers.storage.events.inbox import accept_event, send_event, send_events

LEASE_S = 1.5
TOGETHER = 7
"""Events that one message names."""
_HANGS = """
import pathlib, sys, time
from workers.agent_config import states
def hang(*_, **__):
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(60)
states.add_agents = hang
from workers.main import app
app(["worker", "config"])
"""


@pytest.fixture
def quick(stored: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose processes have short leases."""
    monkeypatch.setattr(
        "tests.servers.parts.environment",
        lambda settings: environment(settings) | {"EDGEWISE_CONFIG_LEASE_S": str(LEASE_S)},
    )
    stored.home_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return configure(stored, config_lease_s=LEASE_S)


@pytest.fixture
def queue(quick: Settings) -> Iterator[Celery]:
    flush(quick)
    app = make_celery(quick, "test")
    yield app
    app.close()
    flush(quick)


def add(engine: Engine, queue: Celery | None, agent_id: str, name: str) -> str:
    event = AgentUpsert(
        agent_id=agent_id,
        account="default",
        agent=AgentFields(name=name, system_prompt="b", voice=Voice(voice_id="ivy")),
    )
    with writing(engine) as connection:
        event_id = accept_event(connection, event)
    if queue is not None:
        send_event(queue, event_id)
    return event_id


def counts(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        rows = connection.execute(
            sa.text("SELECT status, count(*) FROM config_events GROUP BY status")
        )
        return {str(row[0]): int(row[1]) for row in rows}


def state(engine: Engine, agent_id: str) -> tuple[int, str]:
    with reading(engine) as connection:
        found = find_agent(connection, agent_id)
    return (0, "") if found is None else (found.version, found.agent.name)


def make_overdue(engine: Engine) -> None:
    """Let the time pass after which a pending event is sent again."""
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE config_events SET due_at = 0 WHERE status = 'pending'"))


@contextlib.contextmanager
def hanging_worker(settings: Settings, mark: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a config worker that hangs in the middle of applying; `mark` says when."""
    variables = environment(settings) | {"EDGEWISE_CONFIG_LEASE_S": str(LEASE_S)}
    process = subprocess.Popen(
        [sys.executable, "-c", _HANGS, str(mark)], env=variables, cwd=settings.home_path
    )
    try:
        wait_for("the worker is in the middle", mark.exists, within=30)
        yield process
    finally:
        process.kill()
        process.wait(5)


def test_what_a_worker_was_killed_over_is_applied_once_soon_after(
    engine: Engine, quick: Settings, queue: Celery, tmp_path: Path
) -> None:
    agent_id = new_id("agent")
    add(engine, queue, agent_id, "first")
    with hanging_worker(quick, tmp_path / "mark") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    flush(quick)  # not even the message is left
    add(engine, None, agent_id, "second")
    assert state(engine, agent_id) == (0, "")
    with running_worker(quick):
        wait_for("both applied", lambda: counts(engine) == {"applied": 2}, within=8)
    assert state(engine, agent_id) == (2, "second")


def test_a_group_that_a_worker_was_killed_over_is_applied_once_soon_after(
    engine: Engine, quick: Settings, queue: Celery, tmp_path: Path
) -> None:
    agents = [new_id("agent") for _ in range(3)]
    send_events(queue, [add(engine, None, agent_id, "a") for agent_id in agents])
    with hanging_worker(quick, tmp_path / "mark") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    assert [state(engine, agent_id) for agent_id in agents] == [(0, "")] * 3
    with running_worker(quick):
        wait_for("all applied", lambda: counts(engine) == {"applied": 3}, within=20)
    assert [state(engine, agent_id) for agent_id in agents] == [(1, "a")] * 3


def test_what_a_redis_forgot_is_sent_again_by_the_worker(
    engine: Engine, quick: Settings, queue: Celery
) -> None:
    agents = [new_id("agent") for _ in range(30)]
    for agent_id in agents:
        add(engine, queue, agent_id, "a")
    flush(quick)
    make_overdue(engine)
    with running_worker(quick):
        wait_for("all applied", lambda: counts(engine) == {"applied": 30}, within=10)
    assert [state(engine, agent_id) for agent_id in agents] == [(1, "a")] * 30


def shoot(engine: Engine, queue: Celery, settings: Settings, *, kills: int, events: int) -> None:
    """Kill so many workers while they apply so many events, and see that each was applied once."""
    agents = [new_id("agent") for _ in range(20)]
    accepted = 0
    while kills:
        squad = min(kills, 5)
        with ExitStack() as stack:
            parts = _start(stack, settings, squad)
            for number, part in enumerate(parts):
                ids = []
                for _ in range(events // kills if number < squad else 0):
                    ids.append(add(engine, None, agents[accepted % 20], f"n{accepted}"))
                    accepted += 1
                for first in range(0, len(ids), TOGETHER):
                    send_events(queue, ids[first : first + TOGETHER])
                part.stop(signal.SIGKILL)
        kills -= squad
        events -= events // (kills + squad) * squad
    with ExitStack() as stack:
        _start(stack, settings, 2)
        wait_for("all applied", lambda: counts(engine) == {"applied": accepted}, within=90)
    for number, agent_id in enumerate(agents):
        last = max(index for index in range(accepted) if index % 20 == number)
        mine = len(range(number, accepted, 20))
        assert state(engine, agent_id) == (mine, f"n{last}")


def _start(stack: ExitStack, settings: Settings, count: int) -> list[Part]:
    """Start workers at once and wait until each takes events."""
    parts = [stack.enter_context(running_part(settings, "worker", "config")) for _ in range(count)]
    for part in parts:
        wait_for("ready", partial(part.logged, "worker is ready"), within=40)
    return parts


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_kills_lose_nothing_and_apply_nothing_twice(
    engine: Engine, quick: Settings, queue: Celery
) -> None:
    shoot(engine, queue, quick, kills=10, events=300)
