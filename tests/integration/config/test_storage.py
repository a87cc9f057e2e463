"""The database: how it is opened, and events settled by compare-and-set."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.ids import new_id
from tests.integration.config.stored_agents import NOW, accept, apply_at, change, store
from tests.servers.parts import configure
from workers.errors import ConfigurationError, StorageUnavailableError
from workers.settings import Settings
from workers.storage.agents.rows import (
    find_agent,
    page_of_agents,
    position_of,
    remove_agents,
)
from workers.storage.database import open_engine, reading, writing
from workers.storage.events.inbox import accept_event
from workers.storage.events.reports import report_event
from workers.storage.events.withdrawal import withdraw_events
from workers.storage.upgrade import upgrade


def test_sqlite_syncs_each_commit_and_lets_readers_be(settings: Settings) -> None:
    settings = configure(settings, database_url=None)
    upgrade(settings)
    engine = open_engine(settings)
    with reading(engine) as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert asked == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }
    engine.dispose()


def test_a_database_of_another_make_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="EDGEWISE_DATABASE_URL"):
        open_engine(configure(settings, database_url="mysql://x/y"))


def test_a_database_that_is_not_there_is_our_error_without_its_statement(
    settings: Settings,
) -> None:
    url = "postgresql+psycopg://nobody:s3cret@/none?host=/nowhere"
    engine = open_engine(configure(settings, database_url=url))
    with pytest.raises(StorageUnavailableError) as caught, reading(engine):
        pass
    assert "s3cret" not in str(caught.value)


def test_an_event_is_applied_once_although_many_try(engine: Engine) -> None:
    event = change()
    event_id = accept(engine, event)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: apply_at(engine, event_id, NOW), range(8)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    with reading(engine) as connection:
        found = find_agent(connection, event.agent_id)
    assert found is not None
    assert found.version == 1


def test_withdrawn_and_applied_exclude_each_other(engine: Engine) -> None:
    for _ in range(10):
        event = change()
        event_id = accept(engine, event)
        gate = threading.Barrier(2)

        def withdraw(event_id: str = event_id, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            with writing(engine) as connection:
                found = withdraw_events(connection, [event_id], NOW)
            return found[event_id].status == "withdrawn"

        def apply(event_id: str = event_id, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            return apply_at(engine, event_id, NOW) is not None

        with ThreadPoolExecutor(2) as pool:
            withdrawn, applied = pool.submit(withdraw), pool.submit(apply)
        assert withdrawn.result() is not applied.result()
        with reading(engine) as connection:
            assert (find_agent(connection, event.agent_id) is not None) is applied.result()
            settled = report_event(connection, event_id)
        assert settled is not None
        assert settled.status == ("applied" if applied.result() else "withdrawn")


def test_an_event_whose_time_is_up_is_not_applied_but_withdrawn(engine: Engine) -> None:
    event_id = accept(engine, change(), expires_at=NOW)
    assert apply_at(engine, event_id, NOW) is None
    with writing(engine) as connection:
        found = withdraw_events(connection, [event_id], NOW + timedelta(days=1))
    assert found[event_id].status == "withdrawn"


def test_what_is_withdrawn_together_is_told_apart(engine: Engine) -> None:
    mine, gone = store(engine, change()), change()
    waiting, applied, refused, removed = ids = [
        accept(engine, each)
        for each in (
            change(),
            change("b", agent_id=mine.agent.id),
            change("c", account="other", agent_id=mine.agent.id),
            gone,
        )
    ]
    outcomes = [apply_at(engine, event_id, NOW) for event_id in (applied, refused, removed)]
    with writing(engine) as connection:
        remove_agents(connection, [gone.agent_id])
    unknown = new_id("event")
    with writing(engine) as connection:
        found = withdraw_events(connection, [*ids, unknown], NOW)
    assert {event_id: result.status for event_id, result in found.items()} == {
        waiting: "withdrawn",
        applied: "applied",
        refused: "rejected",
        removed: "applied",
        unknown: "withdrawn",
    }
    assert [event_id for event_id, result in found.items() if result.record] == [applied]
    record = found[applied].record
    assert record is not None
    assert record.name == "b"
    assert found[refused] in [each.result for each in outcomes if each is not None]
    assert (found[refused].code, found[refused].param) == ("agent_not_found", "agent_id")
    with reading(engine) as connection:
        shown = report_event(connection, refused)
    assert shown is not None
    assert (shown.code, shown.param) == ("agent_not_found", "agent_id")
    assert apply_at(engine, waiting, NOW) is None


def test_an_event_that_nobody_wrote_down_is_nothing_to_do(engine: Engine) -> None:
    assert apply_at(engine, new_id("event"), NOW) is None


def test_another_accounts_agent_is_not_changed(engine: Engine) -> None:
    mine = store(engine, change())
    event_id = accept(engine, change("b", account="other", agent_id=mine.agent.id))
    outcome = apply_at(engine, event_id, NOW)
    assert outcome is not None
    assert (outcome[0].status, outcome[1]) == ("rejected", None)
    with reading(engine) as connection:
        assert find_agent(connection, mine.agent.id) == mine


def test_an_event_in_an_unknown_form_is_rejected_and_not_quoted(engine: Engine) -> None:
    event_id = accept(engine, change())
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE config_events SET body = '{\"planted\": 1}'"))
    outcome = apply_at(engine, event_id, NOW)
    assert outcome is not None
    assert outcome[0].status == "rejected"
    assert "planted" not in str(outcome[0].message)


def test_a_changed_agent_keeps_its_creation_and_counts_its_version(engine: Engine) -> None:
    first = store(engine, change())
    with writing(engine) as connection:
        event_id = accept_event(connection, change("b", agent_id=first.agent.id))
    outcome = apply_at(engine, event_id, NOW)
    assert outcome is not None
    second = outcome.stored
    assert second is not None
    assert (second.version, second.agent.name) == (2, "b")
    assert second.agent.created_at == first.agent.created_at < second.agent.updated_at
    with reading(engine) as connection:
        assert find_agent(connection, first.agent.id) == second


def test_pages_hold_together_although_many_agents_are_of_the_same_moment(engine: Engine) -> None:
    made = {store(engine, change()).agent.id for _ in range(7)}
    store(engine, change(account="other"))
    seen, after = [], None
    while True:
        with reading(engine) as connection:
            page = page_of_agents(connection, "default", 3, after)
        if not page:
            break
        seen += [agent.id for agent in page]
        after = position_of(page[-1])
    assert len(seen) == 7
    assert set(seen) == made
