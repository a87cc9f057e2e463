"""Every part is killed with -9 while 20,000 changes come in: what got a 2xx is there, and once."""

import contextlib
import itertools
import json
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial

import httpx
import psutil
import pytest
import sqlalchemy as sa

from schemas.ids import agent_id_of
from tests.acceptance.config_load import Promises, Sender, Writer, key_of
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.system import System, clean_environment, command, running_system
from tests.servers.waiting import wait_for
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyRingReader, read_key_ring
from workers.storage.agents.llm_rows import entries_of_agents

BATCHES, ROWS, AGENTS = 40, 500, 200
CONFIG_WORKER_KILLS = 40
OTHERS = ("gateway", "postgresql", "redis", "config")
QUICK = {"EDGEWISE_CONFIG_LEASE_S": "1.5", "EDGEWISE_LLM_PROBE_EVERY_S": "0"}

Victim = tuple[System, Postgres | None, str | None]
"""A running system; on PostgreSQL, that server and the URL of the database."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgresql"])
def victim(request: pytest.FixtureRequest) -> Iterator[Victim]:
    with contextlib.ExitStack() as stack:
        postgres, database = None, None
        if request.param == "postgresql":
            postgres = stack.enter_context(running_postgres())
            database = postgres.new_database()
        variables = {**QUICK, "EDGEWISE_DATABASE_URL": database or ""}
        yield stack.enter_context(running_system(**variables)), postgres, database


def test_what_was_accepted_is_applied_once_whatever_is_killed(
    victim: Victim,
) -> None:
    system, postgres, database = victim
    over = threading.Event()
    writers = [Writer(system, number, 3, over) for number in range(2)]
    sender = Sender(system, AGENTS)
    killer = threading.Thread(
        target=kill_parts, args=(system, postgres, database, over), daemon=True
    )
    for thread in [*writers, killer]:
        thread.start()
    for number in range(BATCHES):
        sender.send(ROWS, number)
    killer.join(300)
    assert not killer.is_alive()
    over.set()
    for writer in writers:
        writer.join(40)
        assert not writer.is_alive()

    engine = sa.create_engine(database or f"sqlite:///{system.home / 'edgewise.db'}")
    wait_for("all settled", lambda: all_settled(engine), within=120)
    assert_batches_done(system, sender)
    now, applied = states(engine), applied_names(engine)
    keys = stored_keys(engine, system, {agent_id_of("default", each) for each in sender.last})
    for external_id, times in sender.times.items():
        agent_id, name = agent_id_of("default", external_id), sender.last[external_id]
        assert now[agent_id] == (times, name)
        assert keys[agent_id] == [key_of(name)]
    for writer in writers:
        assert_promises_hold(writer.promises, applied, now)
    engine.dispose()


def kill_parts(
    system: System, postgres: Postgres | None, database: str | None, over: threading.Event
) -> None:
    """Kill config workers, two at work beside the system's own, and now and then another part."""
    chance = random.Random(7)
    others = itertools.cycle(name for name in OTHERS if postgres or name != "postgresql")
    squad = [start_worker(system, database) for _ in range(2)]
    for number in range(1, CONFIG_WORKER_KILLS + 1):
        over.wait(chance.uniform(0.5, 2.5))
        doomed = squad.pop(0)
        doomed.kill()
        doomed.wait(5)
        squad.append(start_worker(system, database))
        if number % 5 == 0:
            kill_another(system, postgres, next(others))
    for process in squad:
        process.kill()
        process.wait(5)


def start_worker(system: System, database: str | None) -> "subprocess.Popen[bytes]":
    variables = {
        "EDGEWISE_HOME": str(system.home),
        "EDGEWISE_REDIS_URL": f"unix://{system.home / 'redis' / 'redis.sock'}",
        "EDGEWISE_API_KEY": system.api_key,
        **QUICK,
        "EDGEWISE_DATABASE_URL": database or "",
    }
    return subprocess.Popen(
        [command("edgewise"), "worker", "config"],
        cwd=system.home,
        env=clean_environment(**variables),
        stderr=subprocess.DEVNULL,
    )


def kill_another(system: System, postgres: Postgres | None, name: str) -> None:
    if name == "postgresql" and postgres is not None:
        postgres.stop(signal.SIGKILL)
        postgres.start()
    else:
        kill(system, name)


def kill(system: System, name: str) -> None:
    """Kill a part of this system once it runs again."""

    def pid() -> int | None:
        found = system.part(name)
        return found if found is not None and psutil.pid_exists(found) else None

    doomed = wait_for(f"{name} runs", pid, within=20)
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(doomed)
        process.kill()
        wait_for("it is dead", lambda: not process.is_running() or is_gone(process), within=5)


def is_gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def all_settled(engine: sa.Engine) -> bool:
    """Tell whether nothing waits any more: no event, no batch."""
    with engine.connect() as connection:
        events = sa.text("SELECT count(*) FROM config_events WHERE status = 'pending'")
        running = sa.text("SELECT count(*) FROM batches WHERE status = 'running'")
        return not connection.execute(events).scalar() and not connection.execute(running).scalar()


def applied_names(engine: sa.Engine) -> dict[str, list[str]]:
    """Return the names that REST calls set, in the order in which they were applied, by agent."""
    query = "SELECT agent_id, body FROM config_events WHERE status = 'applied' ORDER BY accepted_at"
    names: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for agent_id, body in connection.execute(sa.text(query)):
            change = json.loads(body)
            if change["kind"] == "agent.change":
                names.setdefault(agent_id, []).append(change["changes"]["name"])
    return names


def states(engine: sa.Engine) -> dict[str, tuple[int, str]]:
    """Return how often each agent was stored, and its name."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, version, document FROM agents"))
        return {row.id: (row.version, json.loads(row.document)["name"]) for row in rows}


def stored_keys(engine: sa.Engine, system: System, agents: set[str]) -> dict[str, list[str]]:
    """Return the keys of models as a turn worker opens them, by agent."""
    ring = KeyRingReader(partial(read_key_ring, keys_folder(system.home), {}))
    with engine.connect() as connection:
        return {
            agent_id: [
                decrypt(
                    ring.find,
                    entry.api_key,
                    Binding(entry.account, agent_id, entry.entry, entry.base_url),
                ).get_secret_value()
                for entry in entries
            ]
            for agent_id, entries in entries_of_agents(connection, agents).items()
        }


def assert_batches_done(system: System, sender: Sender) -> None:
    for batch, rows in sender.accepted.items():
        answer = httpx.get(f"{system.url}/v1/batches/{batch}", headers=system.headers, timeout=20)
        told = answer.json()
        assert told["status"] == "done", told
        assert told["done"] == told["total"] == rows, told
        assert told["failed"] == 0, told


def assert_promises_hold(
    promises: Promises, applied: dict[str, list[str]], now: dict[str, tuple[int, str]]
) -> None:
    assert not promises.strange
    assert sum(map(len, promises.kept.values())) > 20
    for agent, kept in promises.kept.items():
        done = applied.get(agent, [])
        assert len(set(done)) == len(done)
        assert [name for name in done if name in set(kept)] == kept
        assert promises.refused.isdisjoint(done)
        assert promises.unknown.issuperset(set(done) - set(kept))
        assert now[agent][0] == 1 + len(done)
        assert not done or now[agent][1] == done[-1]
