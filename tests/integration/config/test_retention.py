"""What is settled and old is forgotten in small steps; what waits is kept. On both databases."""

import threading
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.agent import AgentFields, Voice
from schemas.config_event import AgentDelete, AgentUpsert
from schemas.ids import new_id
from tests.integration.config.keys import NOW, accept, new_vault
from tests.integration.config.stored_agents import apply_at
from tests.servers.parts import running_config_worker
from tests.servers.waiting import wait_for
from workers.agent_config.messages import take_message
from workers.agent_config.sweep import sweep
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.events.message_ids import find_message
from workers.storage.retention import forget_before
from workers.storage.webhooks.receipts import (
    Receipt,
    add_receipt,
    find_receipt,
    find_same_body,
    forget_old_receipts,
)

LATER = timedelta(days=30)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FIELDS = AgentFields(name="a", system_prompt="b", voice=Voice(voice_id="ivy"))


def count(engine: Engine, table: str) -> int:
    with reading(engine) as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() or 0)


def removal(engine: Engine, at: datetime) -> None:
    """Settle a removal, which leaves an event and a tombstone."""
    event = AgentDelete(agent_id=new_id("agent"), account="default", occurred_at=at)
    assert apply_at(engine, accept(engine, event, at=at), at) is not None


def test_what_is_older_goes_step_by_step_and_what_is_not_settled_stays(engine: Engine) -> None:
    for number in range(5):
        removal(engine, NOW + timedelta(seconds=number))
    removal(engine, NOW + LATER)
    waiting = AgentUpsert(agent_id=new_id("agent"), account="default", agent=FIELDS)
    accept(engine, waiting)
    with engine.begin() as connection:
        assert forget_before(connection, NOW + LATER, 2) == 4, "two of each kind"
    assert sweep(engine, NOW + LATER, threading.Event(), step=2) == 6
    assert (count(engine, "config_events"), count(engine, "agent_tombstones")) == (2, 1)
    assert sweep(engine, NOW + LATER, threading.Event()) == 0


def test_ids_of_messages_are_forgotten_too(engine: Engine, stored: Settings) -> None:
    fields = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}}
    message = {"id": "m", "account": "default", "external_id": "x", "kind": "agent.upsert"}
    assert take_message(engine, new_vault(stored), {**message, "agent": fields}) is not None
    sweep(engine, datetime.now(UTC) - LATER, threading.Event())
    with reading(engine) as connection:
        assert find_message(connection, "default", "m") is not None
    sweep(engine, datetime.now(UTC) + timedelta(seconds=1), threading.Event())
    with reading(engine) as connection:
        assert find_message(connection, "default", "m") is None


def receive(engine: Engine, webhook_id: str, at: datetime) -> None:
    """Note that a webhook came in."""
    with writing(engine) as connection:
        receipt = Receipt(body_hash=webhook_id, event_id=new_id("event"))
        add_receipt(connection, "source", webhook_id, receipt, at)


def known(engine: Engine, *webhook_ids: str) -> set[str]:
    with reading(engine) as connection:
        return {
            each
            for each in webhook_ids
            if find_receipt(connection, "source", each)
            and find_same_body(connection, "source", each)
        }


def test_the_id_of_a_webhook_is_kept_for_seven_days_and_no_longer(engine: Engine) -> None:
    names = ("old", "older", "on the day", "young")
    for name, age in zip(names, (8 * DAY, 9 * DAY, 7 * DAY, 7 * DAY - HOUR), strict=True):
        receive(engine, name, NOW - age)
    with writing(engine) as connection:
        assert [forget_old_receipts(connection, NOW, 1) for _ in range(3)] == [1, 1, 0]
    assert known(engine, *names) == {"on the day", "young"}
    with writing(engine) as connection:
        assert forget_old_receipts(connection, NOW + timedelta(microseconds=1), 9) == 1
        assert forget_old_receipts(connection, NOW + HOUR, 9) == 0
        assert forget_old_receipts(connection, NOW + HOUR + timedelta(microseconds=1), 9) == 1


def test_a_config_worker_forgets_by_itself(engine: Engine, stored: Settings) -> None:
    now = datetime.now(UTC)
    removal(engine, now - timedelta(days=31))
    removal(engine, now - timedelta(days=29))
    receive(engine, "old", now - 7 * DAY)
    receive(engine, "young", now - 7 * DAY + HOUR)
    with running_config_worker(stored):
        wait_for("one is left", lambda: count(engine, "config_events") == 1)
        wait_for("one is left", lambda: count(engine, "agent_tombstones") == 1)
        wait_for("one is left", lambda: known(engine, "old", "young") == {"young"})
