"""Changes that say when they came about, in any order of arrival, on both databases."""

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from sqlalchemy import Engine

from schemas.agent import AgentFields, Voice
from schemas.config_event import AgentDelete, AgentUpsert, Change, ConfigResult
from schemas.ids import agent_id_of, new_id
from tests.integration.config.keys import NOW, accept, change
from tests.integration.config.stored_agents import apply_at
from workers.agent_config.apply import apply_in_order
from workers.agent_config.groups import apply_named
from workers.agent_config.order import AHEAD_S, OUT_OF_DATE
from workers.agent_config.together import apply_together
from workers.storage.agents.rows import find_agent
from workers.storage.database import reading, writing
from workers.storage.events.group_leases import with_open_events
from workers.storage.events.leases import take_lease


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def upsert(agent_id: str, name: str, occurred: float | None, account: str = "default") -> Change:
    return AgentUpsert(
        agent_id=agent_id,
        account=account,
        agent=AgentFields(name=name, system_prompt="b", voice=Voice(voice_id="ivy")),
        occurred_at=None if occurred is None else after(occurred),
    )


def delete(agent_id: str, occurred: float | None, account: str = "default") -> Change:
    moment = None if occurred is None else after(occurred)
    return AgentDelete(agent_id=agent_id, account=account, occurred_at=moment)


def renamed(agent_id: str, name: str, occurred: float) -> Change:
    return change(agent_id, name=name).model_copy(update={"occurred_at": after(occurred)})


def settle(engine: Engine, event: Change, accepted: float) -> ConfigResult:
    """Let an event arrive so many seconds from the start, and apply it."""
    outcome = apply_at(engine, accept(engine, event, at=after(accepted)), after(accepted))
    assert outcome is not None
    return outcome.result


def name_of(engine: Engine, agent_id: str) -> str | None:
    with reading(engine) as connection:
        found = find_agent(connection, agent_id)
    return None if found is None else found.agent.name


def test_whatever_the_order_of_arrival_the_last_state_is_that_of_the_newest_change(
    engine: Engine,
) -> None:
    for number, order in enumerate(permutations(range(4))):
        agent_id = agent_id_of("default", str(number))
        sent = [
            upsert(agent_id, "first", 1),
            delete(agent_id, 2),
            upsert(agent_id, "second", 3),
            upsert(agent_id, "third", 4),
        ]
        statuses = [settle(engine, sent[each], 10 + at).status for at, each in enumerate(order)]
        assert name_of(engine, agent_id) == "third", order
        newest = [max(order[: at + 1]) == each for at, each in enumerate(order)]
        assert statuses == ["applied" if is_newest else "rejected" for is_newest in newest]


def test_a_late_upsert_does_not_bring_an_agent_back_although_it_never_was_there(
    engine: Engine,
) -> None:
    agent_id = new_id("agent")
    assert settle(engine, delete(agent_id, 2), 10).status == "applied"
    late = settle(engine, upsert(agent_id, "late", 1), 11)
    assert (late.status, late.message, late.param) == ("rejected", OUT_OF_DATE, "occurred_at")
    assert name_of(engine, agent_id) is None
    assert settle(engine, upsert(agent_id, "new", 3), 12).status == "applied"
    assert settle(engine, renamed(agent_id, "late again", 2), 13).status == "rejected"
    assert name_of(engine, agent_id) == "new"


def test_of_two_of_the_same_moment_the_one_that_was_accepted_later_wins(engine: Engine) -> None:
    agent_id = new_id("agent")
    for number, name in enumerate(("a", "b", "c")):
        assert settle(engine, upsert(agent_id, name, 1), 10 + number).status == "applied"
    assert name_of(engine, agent_id) == "c"


def test_without_a_time_a_change_is_always_applied_and_counts_as_of_its_acceptance(
    engine: Engine,
) -> None:
    agent_id = new_id("agent")
    ahead = upsert(agent_id, "clock runs ahead", 100)
    assert settle(engine, ahead, 10).status == "applied"
    assert settle(engine, upsert(agent_id, "over REST", None), 20).status == "applied"
    assert settle(engine, upsert(agent_id, "late", 99), 21).status == "rejected"
    assert settle(engine, upsert(agent_id, "over REST", None), 200).status == "applied"
    assert settle(engine, upsert(agent_id, "late", 199), 201).status == "rejected"
    assert settle(engine, delete(agent_id, None), 202).status == "applied"
    assert settle(engine, upsert(agent_id, "late", 201), 203).status == "rejected"
    assert settle(engine, delete(agent_id, None), 204).message == "there is no such agent"
    assert name_of(engine, agent_id) is None


@pytest.mark.parametrize(("ahead", "status"), [(AHEAD_S, "applied"), (AHEAD_S + 1, "rejected")])
def test_a_change_from_the_future_does_not_shut_others_out(
    engine: Engine, ahead: float, status: str
) -> None:
    agent_id = new_id("agent")
    assert settle(engine, upsert(agent_id, "ahead", 10 + ahead), 10).status == status


def test_a_removal_of_another_accounts_agent_shuts_nobody_out(engine: Engine) -> None:
    agent_id = new_id("agent")
    settle(engine, delete(agent_id, 5, account="other"), 10)
    assert settle(engine, upsert(agent_id, "mine", 1), 11).status == "applied"
    settle(engine, delete(agent_id, 20, account="other"), 21)
    assert name_of(engine, agent_id) == "mine"


def test_events_of_another_account_that_name_the_agent_hold_nothing_up(engine: Engine) -> None:
    agent_id = new_id("agent")
    assert settle(engine, upsert(agent_id, "first", None), 0).status == "applied"
    theirs = change(agent_id, name="taken").model_copy(update={"account": "other"})
    stuck = accept(engine, theirs, at=after(1))
    with writing(engine) as connection:
        assert take_lease(connection, stuck, "a slow worker", now=after(1), until=after(99))
    one = accept(engine, change(agent_id, name="n0"), at=after(2))
    (alone,) = apply_in_order(engine, one, lambda: after(9))
    assert alone.result.event_id == one
    mine = [accept(engine, change(agent_id, name=f"n{n}"), at=after(2 + n)) for n in (1, 2)]
    together = apply_named(engine, mine, lambda: after(9))
    assert together is not None
    assert [each.result.status for each in together.outcomes] == ["applied"] * 2
    assert name_of(engine, agent_id) == "n2"
    assert list(apply_together(engine, mine, lambda: after(9))) == []
    with reading(engine) as connection:
        assert with_open_events(connection, mine, after(9)) == []
    (last,) = apply_in_order(engine, stuck, lambda: after(100))
    assert last.result.message == "there is no such agent"
