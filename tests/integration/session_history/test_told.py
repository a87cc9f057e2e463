"""The end of a session, told to the endpoints of its account."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from schemas.ids import new_id
from tests.integration.session_history.entries import turn
from workers.storage.database import reading, writing
from workers.storage.sessions.recorder import SessionRecorder
from workers.storage.sessions.rows import (
    end_lost,
    end_session,
    page_of_entries,
    page_of_sessions,
    put_session,
)
from workers.storage.webhooks.deliveries import Delivery, list_deliveries
from workers.storage.webhooks.endpoints import StoredEndpoint, add_endpoint

BEGAN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


def listening(engine: Engine) -> None:
    endpoint = StoredEndpoint(
        id=new_id("endpoint"),
        account="mine",
        url="https://hooks.example.com/",
        events=("session.ended",),
        created_at=BEGAN,
    )
    with writing(engine) as connection:
        add_endpoint(connection, endpoint)


def begin(engine: Engine, account: str = "mine") -> str:
    session_id = new_id("session")
    with writing(engine) as connection:
        put_session(connection, session_id, account, new_id("agent"), BEGAN)
    return session_id


def told(engine: Engine) -> list[Delivery]:
    with reading(engine) as connection:
        return list_deliveries(connection, limit=10)


def test_an_end_is_told_once_although_it_is_written_twice(engine: Engine) -> None:
    listening(engine)
    session_id, other = begin(engine), begin(engine, "other")
    for each in (session_id, session_id, other):
        with writing(engine) as connection:
            end_session(connection, each, "client", BEGAN + timedelta(seconds=61.5))
    (message,) = told(engine)
    data = json.loads(message.body)["data"]
    assert data["session_id"] == session_id
    assert (data["reason"], data["duration_seconds"]) == ("client", 61.5)
    assert data["started_at"] == "2026-11-22T20:00:00Z"


def test_an_end_is_told_although_nothing_is_kept_of_sessions(engine: Engine) -> None:
    listening(engine)
    session_id, agent_id, under_way = new_id("session"), new_id("agent"), new_id("session")
    with SessionRecorder.open(engine, 0) as recorder:
        recorder.started(session_id, "mine", agent_id)
        recorder.started(under_way, "mine", agent_id)
        recorder.added(session_id, turn(0))
        assert recorder.flush(10)
        assert told(engine) == []
        for _ in range(2):
            recorder.ended(session_id, "client")
        recorder.ended(new_id("session"), "client")
        assert recorder.flush(10)
    (message,) = told(engine)
    data = json.loads(message.body)["data"]
    assert (data["session_id"], data["agent_id"]) == (session_id, agent_id)
    assert data["reason"] == "client"
    assert 0 <= data["duration_seconds"] < 10
    with reading(engine) as connection:
        assert page_of_entries(connection, session_id, 10, None) == []
        (kept,) = (s for s in page_of_sessions(connection, "mine", 10, None) if s.id == under_way)
    assert kept.status == "active"


def test_a_session_that_was_lost_with_its_gateway_is_told_of(engine: Engine) -> None:
    listening(engine)
    session_id = begin(engine)
    for _ in range(2):
        with writing(engine) as connection:
            end_lost(connection, BEGAN + timedelta(seconds=1))
    (message,) = told(engine)
    data = json.loads(message.body)["data"]
    assert (data["session_id"], data["reason"]) == (session_id, "lost")
