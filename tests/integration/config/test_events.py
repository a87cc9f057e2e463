"""Leases, counted attempts, the reconciler and the commands, on both databases."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.agent import AgentFields, Voice
from schemas.config_event import AgentUpsert
from schemas.ids import new_id
from tests.integration.config.keys import (
    NOW,
    accept,
    change,
    environment_with,
    new_vault,
    sealed,
    upsert,
)
from tests.integration.config.stored_agents import apply_at
from tests.servers.cli import run_here
from workers.agent_config.apply import apply_in_order
from workers.agent_config.reconcile import reconcile
from workers.errors import StorageUnavailableError
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.agents.rows import find_agent
from workers.storage.database import reading, writing
from workers.storage.events.inbox import accept_event
from workers.storage.events.leases import ENDED_IN_THE_MIDDLE, take_lease
from workers.storage.events.reports import EventReport, report_event


def plain(agent_id: str | None = None, name: str = "a") -> AgentUpsert:
    return AgentUpsert(
        agent_id=agent_id or new_id("agent"),
        account="default",
        agent=AgentFields(name=name, system_prompt="b", voice=Voice(voice_id="ivy")),
    )


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def report(engine: Engine, event_id: str) -> EventReport:
    with reading(engine) as connection:
        found = report_event(connection, event_id)
    assert found is not None
    return found


def version(engine: Engine, agent_id: str) -> int:
    with reading(engine) as connection:
        found = find_agent(connection, agent_id)
    return 0 if found is None else found.version


def lease(engine: Engine, event_id: str, now: datetime = NOW, seconds: float = 10) -> bool:
    """Take an event as a worker does that is killed right after."""
    until = now + timedelta(seconds=seconds)
    with writing(engine) as connection:
        return take_lease(connection, event_id, "killed", now=now, until=until)


def fail(*_: object) -> None:
    raise RuntimeError("planted-in-the-message")


def run(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_here(environment_with(settings), "events", *words)


def test_a_leased_event_is_let_alone_until_the_lease_runs_out(engine: Engine) -> None:
    event = plain()
    event_id = accept(engine, event)
    assert lease(engine, event_id)
    assert apply_at(engine, event_id, after(9.9)) is None
    assert version(engine, event.agent_id) == 0
    assert apply_at(engine, event_id, after(10)) is not None
    assert version(engine, event.agent_id) == 1
    assert report(engine, event_id).attempts == 2


def test_who_was_too_slow_and_lost_the_lease_does_not_apply(
    engine: Engine, stored: Settings
) -> None:
    vault, event = new_vault(stored), upsert()
    event_id = accept(engine, event, sealed(keys_folder(stored.home_path), event, "sk-1"))

    def dawdle(*_: object) -> None:
        assert apply_at(engine, event_id, after(11), vault) is not None

    assert apply_at(engine, event_id, NOW, vault, dawdle) is None
    assert version(engine, event.agent_id) == 1


def test_an_event_whose_time_is_up_while_it_is_opened_is_not_applied(
    engine: Engine, stored: Settings
) -> None:
    vault, event, now = new_vault(stored), upsert(), NOW
    seals = sealed(keys_folder(stored.home_path), event, "sk-1")
    event_id = accept(engine, event, seals, expires_at=after(5))
    later = accept(engine, change(event.agent_id, name="b"), at=after(1), expires_at=after(20))

    def resolve(*_: object) -> None:
        nonlocal now
        now = after(5)

    outcomes = list(apply_in_order(engine, event_id, lambda: now, vault, resolve))
    assert [outcome.result.event_id for outcome in outcomes] == [later]
    assert version(engine, event.agent_id) == 0
    assert report(engine, event_id).status == "pending"


def test_a_later_event_waits_for_the_one_before_it(engine: Engine) -> None:
    first, later = plain(name="first"), plain(name="later")
    later = later.model_copy(update={"agent_id": first.agent_id})
    ids = [accept(engine, first), accept(engine, later, at=after(1))]
    assert lease(engine, ids[0])
    assert list(apply_in_order(engine, ids[1], lambda: after(2))) == []
    outcomes = list(apply_in_order(engine, ids[1], lambda: after(10)))
    assert [outcome.result.event_id for outcome in outcomes] == ids
    assert version(engine, first.agent_id) == 2


def test_an_event_is_dead_after_three_failures_with_the_reason_and_retry_revives_it(
    engine: Engine, stored: Settings
) -> None:
    vault, event = new_vault(stored), upsert()
    seals = sealed(keys_folder(stored.home_path), event, "sk-planted")
    event_id = accept(engine, event, seals)
    assert apply_at(engine, event_id, NOW, vault, fail) is None
    assert apply_at(engine, event_id, after(0.5), vault, fail) is None
    assert report(engine, event_id).attempts == 1, "it rests after a failure"
    assert apply_at(engine, event_id, after(1), vault, fail) is None
    outcome = apply_at(engine, event_id, after(2), vault, fail)
    assert outcome is not None
    assert outcome.result.status == "dead"
    shown = run(stored, "show", event_id)
    assert "RuntimeError in fail" in shown.stdout, shown.stderr
    assert "planted" not in shown.stdout
    assert seals[0] not in shown.stdout
    assert apply_at(engine, event_id, after(60), vault) is None

    revived = run(stored, "retry", event_id)

    assert revived.returncode == 0, revived.stderr
    assert (report(engine, event_id).status, report(engine, event_id).attempts) == ("pending", 0)
    assert apply_at(engine, event_id, after(60), vault) is not None
    assert version(engine, event.agent_id) == 1


def test_an_event_that_ends_its_worker_three_times_is_dead_and_lets_others_pass(
    engine: Engine,
) -> None:
    event = plain()
    deadly, next_one = accept(engine, event), accept(engine, event, at=after(1))
    for number in range(3):
        assert lease(engine, deadly, after(10 * number))
    assert not lease(engine, deadly, after(30))
    outcomes = list(apply_in_order(engine, next_one, lambda: after(30)))
    assert [outcome.result.status for outcome in outcomes] == ["dead", "applied"]
    assert outcomes[0].result.message == ENDED_IN_THE_MIDDLE


def test_a_database_that_is_away_is_not_the_fault_of_the_event(
    engine: Engine, stored: Settings
) -> None:
    vault, event = new_vault(stored), upsert()
    event_id = accept(engine, event, sealed(keys_folder(stored.home_path), event, "sk-1"))

    def away(*_: object) -> None:
        raise StorageUnavailableError("the database: OperationalError")

    for _ in range(5):
        with pytest.raises(StorageUnavailableError):
            apply_at(engine, event_id, NOW, vault, away)
    assert report(engine, event_id).attempts == 0
    assert apply_at(engine, event_id, NOW, vault) is not None


def test_overdue_events_are_sent_once_although_several_look(engine: Engine) -> None:
    ids = {accept(engine, plain()) for _ in range(20)}
    expired = accept(engine, plain(), expires_at=after(5))
    sent: list[str] = []
    gate = Barrier(4)

    def look(_: int) -> None:
        gate.wait(10)
        reconcile(engine, sent.append, after(5))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(4)))
    assert sorted(sent) == sorted(ids)
    assert report(engine, expired).status == "withdrawn"
    assert reconcile(engine, sent.append, after(6)) == 0
    assert reconcile(engine, sent.append, after(15)) == 20


def test_events_of_an_agent_keep_their_order_although_a_clock_runs_ahead(engine: Engine) -> None:
    event = plain()
    ahead = accept(engine, event, at=datetime.now(UTC) + timedelta(hours=1))
    with writing(engine) as connection:
        behind = [accept_event(connection, plain(event.agent_id)) for _ in range(3)]
    outcomes = apply_in_order(engine, behind[2], lambda: datetime.now(UTC))
    assert [outcome.result.event_id for outcome in outcomes] == [ahead, *behind]


def test_the_commands_list_show_and_refuse(engine: Engine, stored: Settings) -> None:
    event = plain()
    applied, waiting = accept(engine, event), accept(engine, plain(), at=after(1))
    assert apply_at(engine, applied, NOW) is not None
    listed = run(stored, "list", "--json")
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [waiting, applied]
    table = run(stored, "list", "--status", "applied").stdout.splitlines()
    assert len(table) == 2
    assert applied in table[1]
    other = plain().model_copy(update={"account": "other"})
    other_id = accept(engine, other, at=after(2))
    for words in (("--account", "other"), ("--agent", other.agent_id)):
        (line,) = run(stored, "list", "--json", *words).stdout.splitlines()
        assert json.loads(line)["id"] == other_id
    assert run(stored, "list", "--json", "--account", "none").stdout == ""
    assert json.loads(run(stored, "show", waiting, "--json").stdout)["status"] == "pending"
    for words, reason in (
        (("show", new_id("event")), "`edgewise events list` shows"),
        (("retry", new_id("event")), "`edgewise events list` shows"),
        (("retry", applied), "this one is applied"),
    ):
        refused = run(stored, *words)
        assert refused.returncode == 1
        assert reason in refused.stderr


def test_what_would_break_a_promise_or_bring_an_old_state_back_is_not_revived(
    engine: Engine, stored: Settings
) -> None:
    event = plain()
    older = accept(engine, event)
    promised = accept(engine, plain(), expires_at=after(60))
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE config_events SET status = 'dead'"))
    assert apply_at(engine, accept(engine, event, at=after(1)), after(1)) is not None
    assert apply_at(engine, accept(engine, change(event.agent_id, name="b")), NOW) is not None
    for event_id, reason in ((older, "changed by a later event"), (promised, "was told")):
        refused = run(stored, "retry", event_id)
        assert refused.returncode == 1
        assert reason in refused.stderr
        assert report(engine, event_id).status == "dead"
