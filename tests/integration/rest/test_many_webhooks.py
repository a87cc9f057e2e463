"""Thousands of webhooks, many of them repeated, in no order: each takes effect once."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.ids import agent_id_of
from tests.servers.waiting import wait_for
from tests.servers.webhooks import Sender, event_body, upsert_body

REPEATED = 0.3
AT_ONCE = 16
_runs = count()


def shower(deliveries: int, agents: int) -> tuple[list[tuple[str, bytes]], dict[str, str | None]]:
    """Return webhooks as (id, body), shuffled, and the state that they lead to.

    That is the name of each agent by its external id, None where the last change removed it.
    """
    chance = random.Random(4711)
    run, began = next(_runs), datetime.now(UTC) - timedelta(hours=1)
    unique = int(deliveries * (1 - REPEATED))
    webhooks: list[tuple[str, bytes]] = []
    last: dict[str, str | None] = {}
    for number in range(unique):
        external_id = f"shower-{run}-{number % agents}"
        moment = began + timedelta(milliseconds=number)
        if chance.random() < 0.1:
            body, last[external_id] = (
                event_body("agent.delete", moment, external_id=external_id),
                None,
            )
        else:
            body, last[external_id] = upsert_body(external_id, f"n{number}", moment), f"n{number}"
        webhooks.append((f"shower-{run}-{number}", body))
    webhooks += chance.choices(webhooks, k=deliveries - unique)
    chance.shuffle(webhooks)
    return webhooks, last


def rain(
    client: httpx.Client, engine: Engine, sender: Sender, *, deliveries: int, agents: int
) -> None:
    webhooks, expected = shower(deliveries, agents)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda each: (each[0], sender.send(each[1], each[0])), webhooks))
    statuses = Counter(answer.status_code for _, answer in answers)
    assert statuses == {202: deliveries}
    events: dict[str, set[str]] = {}
    for webhook_id, answer in answers:
        events.setdefault(webhook_id, set()).add(answer.json()["event_id"])
    assert {len(ids) for ids in events.values()} == {1}
    mine = {event_id for ids in events.values() for event_id in ids}
    assert len(mine) == len(events)
    ids = [agent_id_of("default", name) for name in expected]
    query = sa.text(
        "SELECT id, agent_id, kind, status FROM config_events WHERE agent_id IN :ids "
        "ORDER BY accepted_at"
    ).bindparams(sa.bindparam("ids", expanding=True))

    def settled() -> list[sa.Row[Any]] | None:
        with engine.connect() as connection:
            found = list(connection.execute(query, {"ids": ids}))
        return None if any(row.status == "pending" for row in found) else found

    found = wait_for("all are settled", settled, within=60 + deliveries / 50)
    assert {row.id for row in found} == mine
    assert len(found) == len(mine)
    assert {row.status for row in found} <= {"applied", "rejected"}
    counted = versions_after([row for row in found if row.status == "applied"])
    versions = sa.text("SELECT version FROM agents WHERE id = :id")
    for name, wanted in expected.items():
        agent_id = agent_id_of("default", name)
        answer = client.get(f"/v1/agents/{agent_id}")
        assert (answer.json()["name"] if answer.status_code == 200 else None) == wanted, name
        with engine.connect() as connection:
            version = connection.execute(versions, {"id": agent_id}).scalar()
        assert (version or 0) == counted[agent_id], "each change that was applied counts once"


def versions_after(applied: list[sa.Row[Any]]) -> Counter[str]:
    """Return how many changes of each agent were applied since it was made last."""
    versions = Counter[str]()
    for row in applied:
        versions[row.agent_id] = 0 if row.kind == "agent.delete" else versions[row.agent_id] + 1
    return versions


def test_a_shower_of_webhooks_leads_to_the_right_state(
    client: httpx.Client, engine: Engine, sender: Sender
) -> None:
    rain(client, engine, sender, deliveries=200, agents=10)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_webhooks_lead_to_the_right_state(
    client: httpx.Client, engine: Engine, sender: Sender
) -> None:
    rain(client, engine, sender, deliveries=10_000, agents=500)
