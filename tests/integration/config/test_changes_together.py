"""What one message names is applied in one transaction, and each of it as if it were alone."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from schemas.agent import LlmView
from schemas.config_event import AgentUpsert
from schemas.tool import ToolView
from tests.integration.config.keys import NOW, accept, new_vault, sealed, upsert
from tests.integration.config.stored_agents import change as plain
from tests.integration.config.test_events import after, lease, report
from workers.agent_config.settling import Outcome
from workers.agent_config.together import apply_together
from workers.errors import StorageUnavailableError
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.agents.rows import StoredAgent, find_agent
from workers.storage.database import reading, writing
from workers.storage.events.group_leases import claim_events
from workers.storage.events.inbox import SealedChange, accept_events
from workers.storage.events.withdrawal import withdraw_events

DEADLY = "https://deadly.example.com/v1"


def agent(engine: Engine, agent_id: str) -> StoredAgent | None:
    with reading(engine) as connection:
        return find_agent(connection, agent_id)


def together(
    engine: Engine, ids: Sequence[str], now: datetime = NOW, **given: object
) -> list[list[tuple[str, str]]]:
    """Apply a message and return what was settled together, each event with its status."""
    groups: list[list[Outcome]] = list(apply_together(engine, ids, lambda: now, **given))  # type: ignore[arg-type]  # what is given is given on
    return [[(each.result.event_id, each.result.status) for each in group] for group in groups]


def applied(*ids: str) -> list[tuple[str, str]]:
    return [(each, "applied") for each in ids]


def kill_in_the_middle(engine: Engine, ids: Sequence[str]) -> None:
    """Take events as a worker does that is killed right after."""
    with writing(engine) as connection:
        claimed = claim_events(connection, ids, "killed", now=NOW, until=after(10))
    assert {each.event_id for each in claimed} == set(ids)


def test_a_group_is_applied_at_once_in_the_order_of_acceptance(engine: Engine) -> None:
    first, other = plain("first"), plain("other")
    second = plain("second", agent_id=first.agent_id)
    with writing(engine) as connection:
        ids = accept_events(connection, [SealedChange(each) for each in (first, other, second)])
    now = datetime.now(UTC)
    (group,) = together(engine, [ids[2], ids[1], ids[0]], now)
    assert sorted(group) == sorted(applied(*ids))
    assert group.index((ids[0], "applied")) < group.index((ids[2], "applied"))
    stored = agent(engine, first.agent_id)
    assert stored is not None
    assert (stored.version, stored.agent.name) == (2, "second")
    assert together(engine, ids, now) == []


def test_one_that_is_refused_is_refused_alone(engine: Engine) -> None:
    good, other = plain(), plain()
    stolen = plain(account="other", agent_id=good.agent_id)
    ids = [accept(engine, each, at=after(n)) for n, each in enumerate((good, stolen, other))]
    (group,) = together(engine, ids, after(3))
    assert dict(group) == {ids[0]: "applied", ids[1]: "rejected", ids[2]: "applied"}


def test_a_poisonous_one_dies_alone(engine: Engine, stored: Settings) -> None:
    vault, deadly, good = new_vault(stored), upsert(DEADLY), upsert()
    folder = keys_folder(stored.home_path)
    ids = [accept(engine, each, sealed(folder, each, "sk-1")) for each in (deadly, good)]

    def check(entries: Sequence[LlmView], _: Sequence[ToolView]) -> None:
        if any(entry.base_url == DEADLY for entry in entries):
            raise RuntimeError("planted")

    assert together(engine, ids, vault=vault, check=check) == [applied(ids[1])]
    assert report(engine, ids[1]).attempts == 1, "what the group cost is not counted"
    assert together(engine, ids, after(1), vault=vault, check=check) == []
    assert together(engine, ids, after(2), vault=vault, check=check) == [[(ids[0], "dead")]]
    assert report(engine, ids[0]).message == "RuntimeError in check"


def test_names_that_take_their_time_hold_nobody_up_and_wait_side_by_side(
    engine: Engine, stored: Settings
) -> None:
    vault, folder = new_vault(stored), keys_folder(stored.home_path)
    slow = [upsert(f"https://slow-{number}.example.com/v1") for number in range(3)]
    events = [upsert(), *slow, upsert()]
    ids = [accept(engine, each, sealed(folder, each, "sk-1")) for each in events]
    resolved, sent = threading.Event(), list[str]()

    def check(entries: Sequence[LlmView], _: Sequence[ToolView]) -> None:
        if any("slow" in entry.base_url for entry in entries):
            assert resolved.wait(60)

    def send(event_id: str) -> bool:
        sent.append(event_id)
        return True

    groups = apply_together(engine, ids, lambda: NOW, vault, check, send=send)
    assert {each.result.event_id for each in next(groups)} == {ids[0], ids[4]}
    resolved.set()
    (here,) = groups
    assert {here[0].result.event_id, *sent} == set(ids[1:4])
    assert [report(engine, each).attempts for each in sent] == [0, 0]
    for event_id in sent:
        assert together(engine, [event_id], vault=vault) == [applied(event_id)]


def test_what_a_worker_was_killed_over_is_applied_once_and_alone(engine: Engine) -> None:
    events = [plain() for _ in range(3)]
    ids = [accept(engine, event) for event in events]
    kill_in_the_middle(engine, ids)
    assert together(engine, ids, after(9.9)) == []
    groups = together(engine, ids, after(10))
    assert sorted(groups) == sorted(applied(each) for each in ids)
    assert [report(engine, each).attempts for each in ids] == [2, 2, 2]


def test_what_was_withdrawn_or_has_expired_within_a_group_is_not_applied(engine: Engine) -> None:
    withdrawn, expired, good, other = events = [plain() for _ in range(4)]
    ids = [accept(engine, withdrawn), accept(engine, expired, expires_at=after(5))]
    ids += [accept(engine, each, expires_at=after(6)) for each in (good, other)]
    with writing(engine) as connection:
        withdraw_events(connection, [ids[0]], after(1))
    (group,) = together(engine, ids, after(5))
    assert sorted(group) == sorted(applied(*ids[2:]))
    there = [agent(engine, each.agent_id) is not None for each in events]
    assert there == [False, False, True, True]
    assert report(engine, ids[0]).status == "withdrawn"


def test_one_withdrawn_while_its_group_is_under_way_is_not_applied(
    engine: Engine, stored: Settings
) -> None:
    vault, withdrawn, good = new_vault(stored), upsert(), upsert()
    folder = keys_folder(stored.home_path)
    ids = [accept(engine, each, sealed(folder, each, "sk-1")) for each in (withdrawn, good)]

    def check(*_: object) -> None:
        with writing(engine) as connection:
            withdraw_events(connection, [ids[0]], NOW)

    assert together(engine, ids, vault=vault, check=check) == [applied(ids[1])]
    assert agent(engine, withdrawn.agent_id) is None
    assert report(engine, ids[0]).status == "withdrawn"


def test_one_behind_an_event_that_another_worker_is_on_waits_and_is_not_lost(
    engine: Engine,
) -> None:
    first, good, other = plain("first"), plain(), plain()
    later = plain("later", agent_id=first.agent_id)
    held = accept(engine, first)
    ids = [accept(engine, each, at=after(1)) for each in (later, good, other)]
    assert lease(engine, held)
    (group,) = together(engine, ids, after(2))
    assert sorted(group) == sorted(applied(*ids[1:]))
    assert report(engine, ids[0]).attempts == 0
    assert together(engine, [held], after(10)) == [applied(held), applied(ids[0])]


def test_what_came_behind_a_group_is_applied_with_it(engine: Engine) -> None:
    first, other = plain(), plain()
    named = [accept(engine, each) for each in (first, other)]
    behind = [accept(engine, plain(f"n{n}", agent_id=first.agent_id), at=after(n)) for n in (1, 2)]
    group, *rest = together(engine, named, after(3))
    assert sorted(group) == sorted(applied(*named))
    assert rest == [applied(each) for each in behind]


def test_a_database_that_is_away_costs_the_group_no_attempt(
    engine: Engine, stored: Settings
) -> None:
    vault, events = new_vault(stored), [upsert(), upsert()]
    folder = keys_folder(stored.home_path)
    ids = [accept(engine, each, sealed(folder, each, "sk-1")) for each in events]

    def away(*_: object) -> None:
        raise StorageUnavailableError("the database: OperationalError")

    for _ in range(5):
        with pytest.raises(StorageUnavailableError):
            together(engine, ids, vault=vault, check=away)
    assert [report(engine, each).attempts for each in ids] == [0, 0]
    (group,) = together(engine, ids, vault=vault)
    assert sorted(group) == sorted(applied(*ids))


def test_a_message_of_events_that_are_settled_does_not_wait_for_who_writes(
    engine: Engine,
) -> None:
    ids = [accept(engine, plain()) for _ in range(2)]
    together(engine, ids)
    with writing(engine):
        reader = threading.Thread(target=together, args=(engine, ids), name="reader")
        reader.start()
        reader.join(4)
        assert not reader.is_alive()


def test_two_workers_with_the_same_message_apply_it_once(engine: Engine) -> None:
    events = [plain() for _ in range(20)]
    ids = [accept(engine, event) for event in events]
    gate = threading.Barrier(2)
    groups: list[list[tuple[str, str]]] = []

    def work() -> None:
        gate.wait(10)
        groups.extend(together(engine, ids))

    workers = [threading.Thread(target=work, name=f"worker {n}") for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(each for group in groups for each in group) == sorted(applied(*ids))
    stored = [agent(engine, event.agent_id) for event in events]
    assert [each and each.version for each in stored] == [1] * 20


def test_a_group_of_upserts_of_one_agent_counts_its_versions(engine: Engine) -> None:
    event: AgentUpsert = plain("n0")
    changes = [SealedChange(plain(f"n{n}", agent_id=event.agent_id)) for n in range(10)]
    with writing(engine) as connection:
        ids = accept_events(connection, changes)
    assert together(engine, ids, datetime.now(UTC)) == [applied(*ids)]
    stored = agent(engine, event.agent_id)
    assert stored is not None
    assert (stored.version, stored.agent.name) == (10, "n9")
