"""What is kept of sessions, by whom, for how long, and when the database is away."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.ids import new_id
from tests.integration.session_history.entries import message, turn
from tests.servers.parts import configure
from tests.servers.postgres import running_postgres
from workers.settings import Settings
from workers.storage.database import open_engine, reading, writing
from workers.storage.sessions import recorder as session_recorder
from workers.storage.sessions.conversation import Added, History
from workers.storage.sessions.documents import Entry
from workers.storage.sessions.history import SessionHistory
from workers.storage.sessions.recorder import Rhythm, SessionRecorder
from workers.storage.sessions.rows import (
    StoredSession,
    end_session,
    find_session,
    page_of_entries,
    page_of_sessions,
    put_entry,
    put_session,
)
from workers.storage.upgrade import upgrade_engine

QUICK = Rhythm(beat_s=0.05, lost_after_s=0.5, sweep_s=0.05, told_once_s=0.5)
AGENT = new_id("agent")
NOW = datetime.now(UTC)


def until(true: Callable[[], bool], within_s: float = 10) -> None:
    give_up = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def stored_session(engine: Engine, session_id: str) -> StoredSession | None:
    with reading(engine) as connection:
        return find_session(connection, "mine", session_id)


def add_session(engine: Engine, began: datetime, *, ended: datetime | None = None) -> str:
    session_id = new_id("session")
    with writing(engine) as connection:
        put_session(connection, session_id, "mine", AGENT, began)
        put_entry(connection, session_id, new_id("turn"), began, "{}")
        if ended is not None:
            end_session(connection, session_id, "client", ended)
    return session_id


def state_of(engine: Engine, session_id: str) -> tuple[str, str | None]:
    session = stored_session(engine, session_id)
    assert session is not None
    return session.status, session.reason


async def test_a_session_is_read_back_as_it_went(engine: Engine, redis: Redis) -> None:
    session_id = new_id("session")
    entries: list[Entry] = [turn(0), message(1, "\x00 ünï 語 🎈 '\"\\"), turn(2), turn(2)]
    entries[2:] = sorted(entries[2:], key=lambda entry: entry.id)
    with SessionRecorder.open(engine, 30) as recorder:
        history = SessionHistory(engine, redis, recorder)
        recorder.started(session_id, "mine", AGENT)
        for entry in entries:
            recorder.added(session_id, entry)
        found = await history.get("mine", session_id, 10, None)
        assert found is not None
        assert found[0].status == "active"
        assert [entry for _, entry in found[1]] == entries
        recorder.ended(session_id, "client")
        found = await history.get("mine", session_id, 3, None)
        assert found is not None
        assert (found[0].status, found[0].reason) == ("ended", "client")
        rest = await history.get("mine", session_id, 3, found[1][-1][0])
        assert rest is not None
        assert [entry for _, entry in (*found[1], *rest[1])] == entries
        assert await history.get("other", session_id, 10, None) is None
        assert await history.page("other", 10, None) == []
        assert [session.id for session in await history.page("mine", 10, None)] == [session_id]


def test_sessions_of_a_gateway_that_died_are_lost_and_those_of_a_living_one_are_not(
    engine: Engine,
) -> None:
    dead = add_session(engine, NOW - timedelta(seconds=60))
    living, revived = new_id("session"), new_id("session")
    with SessionRecorder.open(engine, 30, QUICK) as recorder:
        recorder.started(living, "mine", AGENT)
        recorder.started(revived, "mine", AGENT)
        assert recorder.flush(5)
        until(lambda: state_of(engine, dead) == ("ended", "lost"))
        # Another gateway took it for lost while this one could not say that it lives.
        with writing(engine) as connection:
            end_session(connection, revived, "lost", datetime.now(UTC))
        until(lambda: state_of(engine, revived) == ("active", None))
        assert state_of(engine, living) == ("active", None)
        recorder.ended(living, "silent")
        assert recorder.flush(5)
        seen = stored_session(engine, revived)
        until(lambda: stored_session(engine, revived) != seen)
        assert state_of(engine, living) == ("ended", "silent")
    lost = stored_session(engine, dead)
    assert lost is not None
    assert lost.ended_at == lost.seen_at


def test_what_happens_while_the_database_is_not_there_is_written_when_it_is(
    stored: Settings,
) -> None:
    engine = open_engine(stored)
    session_id, entry = new_id("session"), turn()
    with SessionRecorder.open(engine, 30, QUICK) as recorder:
        began = time.monotonic()
        recorder.started(session_id, "mine", AGENT)
        recorder.added(session_id, entry)
        assert time.monotonic() - began < 1
        assert not recorder.flush(0.2)
        upgrade_engine(engine)
        assert recorder.flush(10)
    with reading(engine) as connection:
        assert len(page_of_entries(connection, session_id, 10, None)) == 1
    engine.dispose()


def test_conversations_go_on_while_the_database_is_away_and_are_written_after(
    settings: Settings,
) -> None:
    with running_postgres() as server:
        engine = open_engine(configure(settings, database_url=server.new_database()))
        upgrade_engine(engine)
        with SessionRecorder.open(engine, 30, QUICK) as recorder:
            before, during = new_id("session"), new_id("session")
            recorder.started(before, "mine", AGENT)
            assert recorder.flush(5)
            server.stop()
            began = time.monotonic()
            recorder.ended(before, "silent")
            recorder.started(during, "mine", AGENT)
            recorder.added(during, turn())
            assert time.monotonic() - began < 1
            assert not recorder.flush(0.3)
            server.start()
            assert recorder.flush(20)
        assert state_of(engine, before) == ("ended", "silent")
        assert state_of(engine, during) == ("active", None)
        with reading(engine) as connection:
            assert len(page_of_entries(connection, during, 5, None)) == 1
        engine.dispose()


def test_what_does_not_fit_any_more_is_lost_and_counted(
    stored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_recorder, "MAX_WAITING", 10)
    engine = open_engine(stored)
    session_id = new_id("session")
    with (
        structlog.testing.capture_logs() as lines,
        SessionRecorder.open(engine, 30, QUICK) as recorder,
    ):
        recorder.started(session_id, "mine", AGENT)
        for second in range(20):
            recorder.added(session_id, turn(second, said="planted words"))
        upgrade_engine(engine)
        assert recorder.flush(10)
    lost = [line for line in lines if line["event"] == "session history is lost"]
    assert [line["lost"] for line in lost] == [1, 11]
    assert "planted" not in str(lines)
    with reading(engine) as connection:
        assert len(page_of_entries(connection, session_id, 50, None)) == 9
    engine.dispose()


def test_history_is_removed_when_it_is_old_and_not_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_recorder, "AT_ONCE", 3)
    month = NOW - timedelta(days=31)
    old = [add_session(engine, month, ended=month) for _ in range(7)]
    kept = [add_session(engine, month, ended=NOW), add_session(engine, NOW, ended=NOW)]
    with SessionRecorder.open(engine, 30, QUICK):
        until(lambda: all(stored_session(engine, one) is None for one in old))
    with reading(engine) as connection:
        assert {one.id for one in page_of_sessions(connection, "mine", 50, None)} == set(kept)
        assert [page_of_entries(connection, one, 5, None) for one in old] == [[]] * 7


def test_with_a_retention_of_no_days_a_session_is_there_while_it_lasts_and_its_words_never(
    engine: Engine,
) -> None:
    before = add_session(engine, NOW, ended=NOW)
    session_id = new_id("session")
    with SessionRecorder.open(engine, 0, QUICK) as recorder:
        recorder.started(session_id, "mine", AGENT)
        recorder.added(session_id, turn())
        assert recorder.flush(5)
        until(lambda: stored_session(engine, before) is None)
        assert state_of(engine, session_id) == ("active", None)
        with reading(engine) as connection:
            assert page_of_entries(connection, session_id, 5, None) == []
        recorder.ended(session_id, "client")
        until(lambda: stored_session(engine, session_id) is None)
    with reading(engine) as connection:
        assert page_of_sessions(connection, "mine", 5, None) == []


async def test_an_account_removes_what_has_ended_and_nothing_comes_back(
    engine: Engine, redis: Redis
) -> None:
    session_id = new_id("session")
    with SessionRecorder.open(engine, 30) as recorder:
        history = SessionHistory(engine, redis, recorder)
        recorder.started(session_id, "mine", AGENT)
        recorder.added(session_id, turn())
        await History(redis).append(session_id, Added(role="user", content="x"))
        assert await history.remove("mine", session_id) is False
        recorder.ended(session_id, "client")
        assert await history.remove("other", session_id) is None
        assert await history.remove("mine", session_id) is True
        recorder.added(session_id, turn())
        assert recorder.flush(5)
        assert await history.get("mine", session_id, 5, None) is None
        assert await History(redis).read(session_id) == ()
        with reading(engine) as connection:
            assert page_of_entries(connection, session_id, 5, None) == []
        for _ in range(3):
            add_session(engine, NOW, ended=NOW)
        running = add_session(engine, NOW)
        assert await history.remove_all("other", 10) == 0
        assert await history.remove_all("mine", 10) == 3
        assert [session.id for session in await history.page("mine", 5, None)] == [running]
