"""Signed webhooks through a gateway and a config worker, on both databases."""

import hmac
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
from redis import Redis
from sqlalchemy import Engine

from schemas.ids import agent_id_of, new_id
from tests.servers.parts import Part
from tests.servers.planted import found_in, found_in_redis, found_under, planted
from tests.servers.waiting import wait_for
from tests.servers.webhooks import (
    Sender,
    code_of,
    count,
    event_body,
    new_sender,
    signed_headers,
    upsert_body,
)
from workers.settings import Settings

ENTRY = {"base_url": "https://8.8.8.8/v1", "model": "m", "api_key": "sk-first"}


def record(client: httpx.Client, external_id: str) -> dict[str, object] | None:
    answer = client.get(f"/v1/agents/{agent_id_of('default', external_id)}")
    return answer.json() if answer.status_code == 200 else None


def test_a_signed_webhook_makes_changes_and_removes_an_agent(
    client: httpx.Client, sender: Sender
) -> None:
    name = new_id("msg")
    answer = sender.send(upsert_body(name, "Front desk", llm=[ENTRY]))
    assert answer.status_code == 202, answer.text
    assert set(answer.json()) == {"event_id"}
    made = wait_for("it is made", lambda: record(client, name))
    assert (made["name"], made["external_id"]) == ("Front desk", name)
    assert made["llm"] == [{"base_url": "https://8.8.8.8/v1", "model": "m"}]
    sender.send(event_body("agent.llm.rotate", external_id=name, api_key="sk-second"))
    changed = wait_for("it is changed", lambda: updated(client, name, made))
    assert {**changed, "updated_at": ""} == {**made, "updated_at": ""}
    sender.send(event_body("agent.delete", id=made["id"]))
    wait_for("it is gone", lambda: record(client, name) is None)


def updated(client: httpx.Client, name: str, before: dict[str, object]) -> dict[str, object] | None:
    now = record(client, name)
    return now if now and now["updated_at"] != before["updated_at"] else None


def test_the_same_webhook_again_has_the_same_answer_and_no_effect(
    sender: Sender, engine: Engine
) -> None:
    body, webhook_id = upsert_body("same"), new_id("msg")
    first = sender.send(body, webhook_id)
    before = count(engine, "config_events")
    again = [sender.send(body, webhook_id) for _ in range(3)]
    assert [answer.json() for answer in again] == [first.json()] * 3
    assert {answer.status_code for answer in again} == {202}
    other = sender.send(upsert_body("other"), webhook_id)
    assert code_of(other) == (409, "idempotency_key_reuse")
    assert count(engine, "config_events") == before


INVALID: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"\xff\xfe", None),
    (b"[" * 100_000, None),
    (b"{}", "type"),
    (b'{"type": "planted-2f71"}', "type"),
    (event_body("agent.upsert", external_id="a"), "data.name"),
    (upsert_body("a", id="agent_" + "0" * 32), "data"),
    (event_body("agent.delete"), "data"),
    (event_body("agent.delete", id="planted-2f71"), "data.id"),
    (event_body("agent.delete", external_id="a", planted_2f71=1), "data.…"),
    (event_body("agent.llm.rotate", external_id="a", api_key="a b"), "data.api_key"),
    (
        event_body("agent.llm.rotate", external_id="a", api_key="x", base_url="https://127.0.0.1"),
        "data.base_url",
    ),
    (event_body("agent.llm.rotate", external_id="a", api_key="x", model="m"), "data"),
    (upsert_body("a", llm=[{**ENTRY, "base_url": "http://x.example"}]), "llm.0.base_url"),
    (upsert_body("a", llm=[{**ENTRY, "planted_2f71": ""}]), "data.llm.0.…"),
    (upsert_body("a", at=datetime.now(UTC) + timedelta(days=365)), "timestamp"),
    (b'{"type": "agent.delete", "timestamp": "2026-11-22T00:00:00", "data": {}}', "timestamp"),
]


@pytest.mark.parametrize(("body", "param"), INVALID, ids=[str(n) for n in range(len(INVALID))])
def test_an_event_that_is_not_valid_is_a_422_and_may_be_sent_again(
    sender: Sender, engine: Engine, body: bytes, param: str | None
) -> None:
    before = count(engine, "config_events"), count(engine, "webhook_receipts")
    answer = sender.send(body, "again")
    assert code_of(answer) == (422, "validation_error")
    assert answer.json()["param"] == param
    assert "2f71" not in json.dumps({**answer.json(), "request_id": ""})
    assert (count(engine, "config_events"), count(engine, "webhook_receipts")) == before


def test_too_long_a_body_is_a_413_whether_or_not_it_says_so(sender: Sender) -> None:
    body = upsert_body("long", system_prompt="x" * 262_144)
    declared = sender.send(body)
    streamed = sender.client.post(
        sender.url,
        content=iter([body]),
        headers=signed_headers(sender.secret, body, "streamed"),
    )
    assert code_of(declared) == code_of(streamed) == (413, "payload_too_large")


def test_no_secret_is_found_in_the_database_redis_or_logs(
    gateway: tuple[Part, httpx.Client], system_settings: Settings, engine: Engine
) -> None:
    part, client = gateway
    sender = new_sender(client, "planted", scheme="github", secret=planted("source"))
    entry = ENTRY | {"api_key": planted("upsert")}
    name = new_id("msg")
    sent = [
        upsert_body(name, llm=[entry]),
        event_body("agent.llm.rotate", external_id=name, api_key=planted("rotate")),
        event_body("agent.llm.rotate", external_id="nobody", api_key=planted("rejected")),
        event_body("agent.llm.rotate", external_id=name, api_key=planted("not valid") + " "),
    ]
    for body in sent:
        made = hmac.digest(sender.secret.encode(), body, "sha256").hex()
        headers = {"x-hub-signature-256": f"sha256={made}", "x-github-delivery": new_id("msg")}
        answer = client.post(sender.url, content=body, headers=headers)
        assert answer.status_code in (202, 422)
        assert not found_in(answer.content)
    settled = sa.text("SELECT count(*) FROM config_events WHERE status = 'pending'")

    def is_settled() -> bool:
        with engine.connect() as connection:
            return connection.execute(settled).scalar() == 0

    wait_for("all are settled", is_settled, within=30)
    with engine.connect() as connection:
        for table in sa.inspect(engine).get_table_names():
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert not found_in(repr(rows).encode()), table
    with Redis.from_url(str(system_settings.redis_url)) as redis:
        assert found_in_redis(redis) == {}
    assert found_under(system_settings.home_path) == {}
    assert part.logged("/v1/webhooks/")
