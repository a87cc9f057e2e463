"""Changes that were accepted while keys are away: they wait, and none is lost."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from tests.integration.config.hook import add_hook, told
from tests.integration.config.keys import NOW, accept, change, sealed, upsert
from tests.integration.config.rested import RESTED, report
from tests.integration.config.staged import batch, counts, post, row
from tests.integration.config.stored_agents import apply_at
from tests.integration.config.test_rotation import run as run_secrets
from workers.agent_config.apply import apply_in_order
from workers.agent_config.groups import Applied, apply_group, apply_named
from workers.agent_config.reconcile import reconcile, reconcile_batches, reconcile_rested
from workers.agent_config.together import apply_together
from workers.agent_config.vault import Vault
from workers.secrets.key_ring import key_files
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.events.leases import ENDED_IN_THE_MIDDLE, revive, take_lease
from workers.storage.tables import config_events


def moved_away(file: Path) -> Path:
    return file.rename(file.parent.parent / file.name)


def put_back(file: Path, keys: Path) -> None:
    file.rename(keys / file.name)


def seals_left(engine: Engine) -> int:
    with reading(engine) as connection:
        query = select(config_events.c.id).where(config_events.c.sealed.is_not(None))
        return len(connection.execute(query).all())


def sent_again(engine: Engine, now: datetime) -> list[str]:
    """What a worker sends again of what has rested; it says nothing twice."""
    sent: list[Sequence[str]] = []
    reconcile_rested(engine, sent.append, now)
    reconcile_rested(engine, sent.append, now)
    return [event_id for each in sent for event_id in each]


@pytest.mark.parametrize("lost", ["the current key", "the private key"])
def test_a_change_that_nobody_waits_for_waits_for_its_keys(
    engine: Engine, keys: Path, vault: Vault, lost: str
) -> None:
    with writing(engine) as connection:
        vault.key_to_write_under(connection, NOW)
    event = upsert()
    event_id = accept(engine, event, sealed(keys, event, "sk-1"))
    (file,) = key_files(keys)
    away = moved_away(file if lost == "the current key" else keys / "sealing.private")
    fresh = Vault(keys, {})

    assert list(apply_in_order(engine, event_id, lambda: NOW, fresh)) == []

    rests = report(engine, event_id)
    assert (rests.status, rests.message, rests.attempts) == ("pending", "keys_unavailable", 0)
    assert rests.due_at is not None
    assert rests.due_at > NOW
    assert seals_left(engine) == 1
    assert apply_at(engine, event_id, NOW, fresh) is None, "it is not tried while it rests"
    assert sent_again(engine, NOW) == []
    for _ in range(5):
        assert apply_at(engine, event_id, RESTED, fresh) is None
    assert report(engine, event_id).attempts == 0, "it never dies of it"

    put_back(away, keys)
    later = RESTED + timedelta(seconds=60)
    assert reconcile(engine, lambda _: pytest.fail("sent alone"), later) == 0
    assert sent_again(engine, later) == [event_id]
    outcome = apply_at(engine, event_id, later, fresh)
    assert outcome is not None
    assert outcome.result.status == "applied"
    assert report(engine, event_id).message is None
    assert seals_left(engine) == 0


def test_what_ends_its_worker_did_not_die_of_what_it_rested_for(engine: Engine, keys: Path) -> None:
    event = upsert()
    event_id = accept(engine, event, sealed(keys, event, "sk-1"))
    moved_away(keys / "sealing.private")
    assert apply_at(engine, event_id, NOW, Vault(keys, {})) is None
    assert report(engine, event_id).message == "keys_unavailable"
    for number in range(3):
        with writing(engine) as connection:
            now = RESTED + timedelta(seconds=10 * number)
            until = now + timedelta(seconds=10)
            assert take_lease(connection, event_id, f"killed {number}", now=now, until=until)
    outcome = apply_at(engine, event_id, RESTED + timedelta(seconds=30))
    assert outcome is not None
    assert (outcome.result.status, outcome.result.message) == ("dead", ENDED_IN_THE_MIDDLE)


def test_a_call_that_waits_is_told_to_come_back(engine: Engine, keys: Path) -> None:
    add_hook(engine)
    event = upsert()
    until = NOW + timedelta(seconds=5)
    event_id = accept(engine, event, sealed(keys, event, "sk-1"), expires_at=until)
    moved_away(keys / "sealing.private")
    outcome = apply_at(engine, event_id, NOW, Vault(keys, {}))
    assert outcome is not None
    assert (outcome.result.status, outcome.result.code) == ("rejected", "unavailable")
    assert seals_left(engine) == 0
    assert told(engine) == 0, "its caller hears of it, and nobody else"


def test_a_batch_waits_for_its_keys_and_holds_up_nothing_else(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    with writing(engine) as connection:
        vault.key_to_write_under(connection, NOW)
    rows = [row(n, llm=[("m", f"sk-{n}")], settings=stored) for n in range(1, 6)]
    rows += [row(6, "renamed", external_id="x1"), row(7)]
    batch_id = post(engine, rows)
    (file,) = key_files(keys)
    away = moved_away(file)
    fresh = Vault(keys, {})

    def group(now: datetime) -> Applied | None:
        return apply_group(engine, batch_id, lambda: now, fresh, size=4)

    first, second = group(NOW), group(NOW)
    assert first is not None
    assert (first.outcomes, first.alone, first.behind) == ([], [], 0)
    assert second is not None
    assert len(second.outcomes) == 1, "a row without keys goes on"
    assert second.behind == 1, "what follows of an agent does not overtake"
    assert group(NOW) is None, "nobody asks for the others while they rest"
    sent: list[str] = []
    assert reconcile_batches(engine, sent.append, NOW + timedelta(seconds=1)) == 0
    assert counts(engine, batch_id) == {"created": 1}
    assert seals_left(engine) == 5

    put_back(away, keys)
    assert reconcile_batches(engine, sent.append, RESTED) == 1
    while group(RESTED):
        pass
    assert counts(engine, batch_id) == {"created": 6, "updated": 1}
    assert batch(engine, batch_id).status == "done"
    assert seals_left(engine) == 0


def test_events_that_have_rested_are_tried_together_and_in_order(
    engine: Engine, keys: Path
) -> None:
    events = [upsert() for _ in range(3)]
    ids = [accept(engine, each, sealed(keys, each, "sk-1")) for each in events]
    behind = accept(engine, change(events[0].agent_id, name="b"), at=NOW + timedelta(seconds=1))
    other = accept(engine, upsert(), at=NOW)
    away = moved_away(keys / "sealing.private")
    fresh = Vault(keys, {})
    applied = apply_named(engine, [*ids, behind, other], lambda: NOW, fresh)
    assert applied is not None
    assert [outcome.result.event_id for outcome in applied.outcomes] == [other]
    assert applied.alone == []
    assert {report(engine, each).message for each in (*ids, behind)} == {"keys_unavailable"}
    together = apply_together(
        engine, ids, lambda: NOW, fresh, send=lambda _: pytest.fail("sent alone while it rests")
    )
    assert list(together) == []

    put_back(away, keys)
    again = sent_again(engine, RESTED)
    assert sorted(again) == sorted([*ids, behind])
    settled = list(apply_together(engine, again, lambda: RESTED, fresh))
    assert [len(outcomes) for outcomes in settled] == [4]
    assert {report(engine, each).status for each in again} == {"applied"}


def test_a_replaced_pair_opens_what_was_sealed_for_the_former_one(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    event, other = upsert(), upsert()
    event_id = accept(engine, event, sealed(keys, event, "sk-1"))
    (keys / "sealing.private").rename(keys / "sealing-former.private")
    (keys / "sealing.public").unlink()
    assert run_secrets(stored, "init").returncode == 0
    other_id = accept(engine, other, sealed(keys, other, "sk-2"))
    for each in (event_id, other_id):
        outcome = apply_at(engine, each, NOW, vault)
        assert outcome is not None
        assert outcome.result.status == "applied"


def test_a_change_for_a_lost_pair_waits_until_the_operator_lets_it_go(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    lost, other = upsert(), upsert()
    lost_id = accept(engine, lost, sealed(keys, lost, "sk-1"))
    batch_id = post(engine, [row(1, llm=[("m", "sk-1")], settings=stored)])
    for name in ("sealing.private", "sealing.public"):
        (keys / name).unlink()
    assert run_secrets(stored, "init").returncode == 0
    other_id = accept(engine, other, sealed(keys, other, "sk-2"))
    assert apply_at(engine, lost_id, NOW, vault) is None
    assert apply_group(engine, batch_id, lambda: NOW, vault) is not None
    moved_away(keys / "sealing.private")
    assert apply_at(engine, other_id, NOW, Vault(keys, {})) is None
    put_back(keys.parent / "sealing.private", keys)
    assert report(engine, lost_id).message == "keys_unavailable"

    let_go = run_secrets(stored, "init", "--despite-loss")

    assert "given up: 2" in let_go.stdout, let_go.stderr
    sent: list[str] = []
    now = datetime.now(NOW.tzinfo) + timedelta(seconds=60)
    assert reconcile(engine, sent.append, now) == 2
    for event_id in sent:
        assert apply_at(engine, event_id, now, vault) is not None
    assert report(engine, lost_id).status == "dead"
    assert report(engine, lost_id).message == "keys_unavailable"
    assert counts(engine, batch_id) == {"failed": 1}
    with writing(engine) as connection:
        assert revive(connection, lost_id, now), "the pair may turn up all the same"
    outcome = apply_at(engine, other_id, now, vault)
    assert outcome is not None
    assert outcome.result.status == "applied"
