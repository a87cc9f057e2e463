"""Rows of batches applied in groups, on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from schemas.agent import AgentFields, ChangedFields, LlmView, Voice
from schemas.config_event import AgentChange, AgentDelete, AgentUpsert
from schemas.ids import agent_id_of, new_id
from tests.integration.config.hook import add_hook, told
from tests.integration.config.keys import NOW, accept
from tests.integration.config.staged import asked, batch, counts, errors, post, receive, row, run
from tests.integration.config.stored_agents import apply_at
from workers.agent_config.apply import apply_in_order
from workers.agent_config.groups import apply_group
from workers.agent_config.opening import open_group
from workers.agent_config.reconcile import reconcile, reconcile_batches
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.settling import OpenedEvent
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.secrets.places import place_of_key
from workers.settings import Settings
from workers.storage.agents.llm_rows import entries_of
from workers.storage.agents.rows import StoredAgent, add_agents, find_agent
from workers.storage.batches.batch import find_by_key, turn_on
from workers.storage.database import reading, writing
from workers.storage.events.reports import list_events


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def agent(engine: Engine, name: str) -> StoredAgent | None:
    with reading(engine) as connection:
        return find_agent(connection, agent_id_of("default", name))


def key_of(engine: Engine, vault: Vault, name: str) -> list[str]:
    with reading(engine) as connection:
        entries = entries_of(connection, agent_id_of("default", name))
    return [vault.read(entry.api_key, place_of_key(entry)).get_secret_value() for entry in entries]


def test_the_same_rows_again_change_nothing_and_say_so(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    rows = [row(n, llm=[("m", f"sk-{n}")], settings=stored) for n in range(1, 8)]
    first = post(engine, rows)
    assert [group.size for group in run(engine, first, vault, size=3)] == [3, 3, 1]
    assert counts(engine, first) == {"created": 7}
    before = agent(engine, "x3")
    again = [row(n, llm=[("m", f"sk-{n}")], settings=stored) for n in range(1, 8)]
    again[1] = row(2, llm=[("m", "sk-rotated")], settings=stored)
    again[4] = row(5, "renamed", llm=[("m", None)])
    second = post(engine, again, at=after(60))
    run(engine, second, vault, at=after(60))
    assert counts(engine, second) == {"updated": 2, "unchanged": 5}
    now = agent(engine, "x3")
    assert before is not None
    assert now is not None
    assert (now.version, now.agent) == (before.version, before.agent)
    renamed = agent(engine, "x5")
    assert renamed is not None
    assert renamed.agent.created_at == before.agent.created_at
    assert renamed.agent.updated_at == after(60)
    assert key_of(engine, vault, "x2") == ["sk-rotated"]
    assert key_of(engine, vault, "x5") == ["sk-5"], "an entry without a key keeps the stored one"


def test_rows_that_changed_nothing_are_told_to_no_endpoint(engine: Engine) -> None:
    add_hook(engine)
    gone = AgentDelete(agent_id=new_id("agent"), account="default")
    run(engine, post(engine, [row(1), row(2), asked(3, gone)]))
    assert told(engine) == 2
    second = post(engine, [row(1), row(2, "renamed"), asked(3, gone)], at=after(60))
    run(engine, second, at=after(60))
    assert counts(engine, second) == {"unchanged": 2, "updated": 1}
    assert told(engine) == 3
    by_webhook = gone.model_copy(update={"occurred_at": NOW})
    assert apply_at(engine, accept(engine, by_webhook), NOW) is not None
    assert told(engine) == 4, "whoever asks for one change hears of it"


def test_nothing_of_a_batch_is_applied_before_it_is_whole_and_one_that_never_is_goes(
    engine: Engine,
) -> None:
    batch_id = receive(engine, [row(1), row(2)])
    assert apply_group(engine, batch_id, lambda: NOW) is None
    later = accept(engine, asked(0, row(1).change).change, at=after(1))
    outcomes = list(apply_in_order(engine, later, lambda: after(1)))
    assert [outcome.result.event_id for outcome in outcomes] == [later]
    sent: list[str] = []
    assert reconcile(engine, sent.append, after(59)) == 0
    for _ in range(3):
        reconcile_batches(engine, sent.append, after(61))
    assert sent == []
    with reading(engine) as connection:
        assert [event.id for event in list_events(connection, None, 10)] == [later]
        assert find_by_key(connection, "default", batch_id) is None


def test_rows_of_one_agent_keep_their_order_although_two_workers_apply_its_batch(
    engine: Engine,
) -> None:
    rows = [row(n, f"n{n}", external_id=f"x{n % 3}") for n in range(60)]
    batch_id = post(engine, rows)

    def work(_: int) -> list[str]:
        alone: list[str] = []
        while applied := apply_group(engine, batch_id, lambda: NOW, size=7):
            alone += applied.alone
        return alone

    with ThreadPoolExecutor(2) as pool:
        left = [event_id for found in pool.map(work, range(2)) for event_id in found]
    for event_id in left:
        list(apply_in_order(engine, event_id, lambda: NOW))
    assert counts(engine, batch_id) == {"created": 3, "updated": 57}
    found = [agent(engine, f"x{n}") for n in range(3)]
    assert [each and (each.version, each.agent.name) for each in found] == [
        (20, f"n{n}") for n in (57, 58, 59)
    ]


def test_a_rest_call_about_an_agent_of_a_batch_comes_after_its_row(engine: Engine) -> None:
    batch_id = post(engine, [row(n) for n in range(5)])
    mine = agent_id_of("default", "x3")
    change = AgentChange(agent_id=mine, account="default", changes=ChangedFields(name="rest"))
    event_id = accept(engine, change, at=after(1))
    outcomes = list(apply_in_order(engine, event_id, lambda: after(1)))
    assert [outcome.result.status for outcome in outcomes] == ["applied", "applied"]
    run(engine, batch_id, at=after(2))
    assert counts(engine, batch_id) == {"created": 5}
    found = agent(engine, "x3")
    assert found is not None
    assert found.agent.name == "rest"


def test_a_rest_call_that_comes_while_its_agents_row_is_applied_is_sent_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = post(engine, [row(n) for n in range(5)])
    change = AgentChange(
        agent_id=agent_id_of("default", "x3"),
        account="default",
        changes=ChangedFields(name="rest"),
    )
    came: list[str] = []

    def meanwhile(*asked: Any) -> list[OpenedEvent]:
        came.append(accept(engine, change, at=after(1)))
        assert list(apply_in_order(engine, came[0], lambda: after(1))) == []
        return open_group(*asked)

    monkeypatch.setattr("workers.agent_config.groups.open_group", meanwhile)
    applied = apply_group(engine, batch_id, lambda: after(1))
    assert applied is not None
    (row_of_agent,) = applied.followed
    (outcome,) = apply_in_order(engine, row_of_agent, lambda: after(1))
    assert (outcome.result.event_id, outcome.result.status) == (came[0], "applied")
    again = post(engine, [row(n, "b") for n in range(5)], at=after(2))
    post(engine, [row(n, "c") for n in range(5)], at=after(3))
    monkeypatch.undo()
    applied = apply_group(engine, again, lambda: after(4))
    assert applied is not None
    assert list(applied.followed) == [], "rows that follow have a message of their own"


def test_a_rest_call_while_a_batch_arrives_comes_before_its_rows(engine: Engine) -> None:
    first = row(1, "first", external_id="x")
    run(engine, post(engine, [first]))
    made = agent(engine, "x")
    batch_id = receive(engine, [row(1, "row", external_id="x")], at=after(1))
    fields = ChangedFields(name="rest", greeting="Hello.")
    change = AgentChange(agent_id=first.change.agent_id, account="default", changes=fields)
    assert apply_at(engine, accept(engine, change, at=after(9)), after(9)) is not None
    during = agent(engine, "x")
    with writing(engine) as connection:
        assert turn_on(connection, batch_id, "hash", staged=1, failed=0, now=after(10))
    run(engine, batch_id, at=after(10))
    last = agent(engine, "x")
    assert made is not None
    assert during is not None
    assert last is not None
    assert (last.agent.name, last.agent.greeting, last.version) == ("row", None, 3)
    assert made.agent.updated_at < during.agent.updated_at < last.agent.updated_at


def test_rows_are_refused_one_by_one_with_their_line(engine: Engine, vault: Vault) -> None:
    other = AgentUpsert(
        agent_id=new_id("agent"),
        account="other",
        agent=AgentFields(name="a", system_prompt="b", voice=Voice(voice_id="ivy")),
    )
    assert apply_at(engine, accept(engine, other), NOW) is not None
    fields = ChangedFields(name="mine now")
    rows = [
        row(2),
        asked(3, AgentChange(agent_id=other.agent_id, account="default", changes=fields)),
        asked(4, AgentChange(agent_id=new_id("agent"), account="default", changes=fields)),
        asked(5, AgentDelete(agent_id=agent_id_of("default", "x2"), account="default")),
        asked(6, AgentDelete(agent_id=other.agent_id, account="default")),
        row(7, llm=[("m", None)]),
        row(8),
    ]
    batch_id = post(engine, rows)
    run(engine, batch_id, vault)
    assert counts(engine, batch_id) == {"created": 2, "deleted": 1, "unchanged": 1, "failed": 3}
    told = [(error.line, error.code, error.param) for error in errors(engine, batch_id)]
    assert told == [
        (3, "agent_not_found", "agent_id"),
        (4, "agent_not_found", "agent_id"),
        (7, "validation_error", "llm.0.api_key"),
    ]
    with reading(engine) as connection:
        untouched = find_agent(connection, other.agent_id)
    assert untouched is not None
    assert untouched.agent.name == "a"
    assert agent(engine, "x2") is None


def test_a_poisonous_row_does_not_take_its_group_down_and_dies_of_the_third_attempt(
    engine: Engine, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.agent_config import states

    def poisoned(connection: Connection, agents: Sequence[StoredAgent]) -> None:
        if any(each.agent.name == "poison" for each in agents):
            raise RuntimeError("planted")
        add_agents(connection, agents)

    monkeypatch.setattr(states, "add_agents", poisoned)
    batch_id = post(engine, [row(n, "poison" if n == 4 else "a") for n in range(10)])
    (group,) = run(engine, batch_id, vault)
    assert len(group.alone) == 10
    for attempt in range(4):
        for event_id in group.alone:
            list(apply_in_order(engine, event_id, partial(after, 2 * attempt)))
    assert counts(engine, batch_id) == {"created": 9, "failed": 1}
    (error,) = errors(engine, batch_id)
    assert (error.line, error.code) == (4, "internal_error")
    assert "planted" not in error.message


def test_each_endpoint_is_judged_once_in_a_group_and_names_its_row(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    judged: list[str] = []

    def check(entries: Sequence[LlmView], _tools: object) -> None:
        judged.extend(entry.base_url for entry in entries)
        raise ChangeRefusedError("not there", "validation_error", "llm.0.base_url")

    rows = [row(n, llm=[("m", "sk-1")], settings=stored) for n in range(20)] + [row(20)]
    batch_id = post(engine, rows)
    run(engine, batch_id, vault, check)
    assert len(judged) == 1
    assert counts(engine, batch_id) == {"failed": 20, "created": 1}
    assert {error.param for error in errors(engine, batch_id)} == {"llm.0.base_url"}


def test_a_database_that_goes_away_is_not_the_fault_of_the_rows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.agent_config import groups

    def away(*_: object) -> None:
        raise StorageUnavailableError("the database: OperationalError")

    batch_id = post(engine, [row(n) for n in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr(groups, "settle_group", away)
        with pytest.raises(StorageUnavailableError):
            apply_group(engine, batch_id, lambda: NOW)
    sent: list[str] = []
    assert reconcile(engine, sent.append, NOW) == 3
    for event_id in sent:
        list(apply_in_order(engine, event_id, lambda: NOW))
    assert counts(engine, batch_id) == {"created": 3}
    with reading(engine) as connection:
        assert {event.attempts for event in list_events(connection, None, 10)} == {1}


def test_a_batch_that_stalls_is_sent_again_once_in_a_while(engine: Engine) -> None:
    batch_id = post(engine, [row(1)])
    sent: list[str] = []
    assert reconcile_batches(engine, sent.append, after(9)) == 0
    assert reconcile_batches(engine, sent.append, after(10)) == 1
    assert reconcile_batches(engine, sent.append, after(11)) == 0
    assert sent == [batch_id]
    run(engine, batch_id, at=after(12))
    assert batch(engine, batch_id).finished_at == after(12)
    assert reconcile_batches(engine, sent.append, after(99)) == 0
