"""Writes the history of sessions behind the back of the conversations.

The gateway says what happens and never waits for it: changes go into a bounded queue, and a
thread of its own writes them, many in one transaction. While the database is away they wait;
what does not fit any more is lost, counted and logged. The same thread says which sessions are
alive, ends those whose gateway died, and removes what is too old.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from schemas.session_history import Reason
from workers.errors import StorageUnavailableError
from workers.storage.database import writing
from workers.storage.sessions.documents import Entry, size_of, to_document
from workers.storage.sessions.rows import (
    end_lost,
    end_session,
    put_entry,
    put_session,
    remove_old,
    touch,
)

MAX_WAITING: Final = 20_000
"""Changes that wait to be written."""
MAX_WAITING_CHARACTERS: Final = 32_000_000
AT_ONCE: Final = 100
"""Changes in one transaction, and sessions that a sweep removes in one."""
RETRY_S: Final = 1.0
CLOSE_S: Final = 1.0
"""How long the end of the process waits for what is not written yet."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """How often the thread looks after sessions, and when one counts as lost, in seconds."""

    beat_s: float = 5.0
    lost_after_s: float = 30.0
    sweep_s: float = 60.0
    told_once_s: float = 60.0
    """For so long an end is remembered at least: writing it down twice must not tell it twice."""


@dataclass(frozen=True)
class _Started:
    session_id: str
    account: str
    agent_id: str
    at: datetime


@dataclass(frozen=True)
class _Added:
    session_id: str
    entry: Entry


@dataclass(frozen=True)
class _Ended:
    session_id: str
    reason: Reason
    at: datetime


_Change = _Started | _Added | _Ended


class SessionRecorder:
    """Takes what happens in the sessions of this process; no method but `flush` waits."""

    def __init__(self, engine: Engine, retention_days: int, rhythm: Rhythm | None = None) -> None:
        self._engine = engine
        self._days = retention_days
        self._rhythm = rhythm or Rhythm()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[_Change, int]] = deque()
        self._characters = 0
        self._live: dict[str, set[str]] = {}
        """The sessions that are written as active, and the messages written for each."""
        self._taken = 0
        self._done = 0
        self._lost = 0
        self._is_held_up = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="session history", daemon=True)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, engine: Engine, retention_days: int, rhythm: Rhythm | None = None
    ) -> Iterator["SessionRecorder"]:
        """Run the thread; with a retention of 0 days nothing is kept of what was said.

        That there is a session is written down all the same, until shortly after its end: so
        the endpoints of its account are told of it, even where it is lost with its gateway.
        """
        recorder = cls(engine, retention_days, rhythm)
        recorder._thread.start()
        try:
            yield recorder
        finally:
            recorder._close()

    @property
    def keeps(self) -> bool:
        """Whether anything is kept of what is said."""
        return self._days > 0

    def started(self, session_id: str, account: str, agent_id: str) -> None:
        """Take in that a session has begun."""
        self._take(_Started(session_id, account, agent_id, datetime.now(UTC)), 0)

    def added(self, session_id: str, entry: Entry) -> None:
        """Take in an entry of its time line."""
        if self.keeps:
            self._take(_Added(session_id, entry), size_of(entry))

    def ended(self, session_id: str, reason: Reason) -> None:
        """Take in that it has ended."""
        self._take(_Ended(session_id, reason, datetime.now(UTC)), 0)

    def flush(self, within_s: float) -> bool:
        """Wait until all that was taken so far is written or lost; False if that takes longer."""
        with self._changed:
            wanted = self._taken
            return self._changed.wait_for(lambda: self._done >= wanted, within_s)

    def _take(self, change: _Change, size: int) -> None:
        with self._changed:
            if (
                len(self._waiting) >= MAX_WAITING
                or self._characters + size > MAX_WAITING_CHARACTERS
            ):
                self._lose(1)
                return
            self._waiting.append((change, size))
            self._characters += size
            self._taken += 1
            self._changed.notify_all()

    def _lose(self, count: int) -> None:
        self._lost += count
        if self._lost == count or self._lost % 1_000 == 0:
            log.warning("session history is lost", lost=self._lost)

    def _close(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        if self._waiting or self._lost:
            log.warning("session history is lost", lost=self._lost + len(self._waiting))

    def _run(self) -> None:
        clock, rhythm = time.monotonic, self._rhythm
        beat, sweep = clock(), clock()
        while self._wait(max(0.0, min(beat, sweep) - clock())):
            if not self._written():
                if self._stopping:
                    return
                self._pause(RETRY_S)
                continue
            if clock() >= beat:
                beat = clock() + rhythm.beat_s
                self._look_after(self._beat)
            if clock() >= sweep:
                has_more = self._look_after(self._sweep)
                sweep = clock() + (rhythm.beat_s if has_more else rhythm.sweep_s)

    def _wait(self, timeout_s: float) -> bool:
        """Wait for changes or until it is time; False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping, timeout_s)
            return bool(self._waiting) or not self._stopping

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _written(self) -> bool:
        """Write what waits; False where the database does not take it now."""
        while batch := [change for change, _ in list(self._waiting)[:AT_ONCE]]:
            try:
                self._write(batch)
            except (StorageUnavailableError, ProgrammingError) as error:
                if not self._is_held_up:
                    log.warning("session history waits", error=type(error).__name__)
                self._is_held_up = True
                return False
            except SQLAlchemyError as error:
                log.error("session history cannot be written", error=type(error).__name__)  # noqa: TRY400  # a traceback may quote what was said
                self._lose(len(batch))
            self._forget(batch)
        self._is_held_up = False
        return True

    def _write(self, batch: list[_Change]) -> None:
        written = []
        with writing(self._engine) as connection:
            for change in batch:
                match change:
                    case _Started(session_id, account, agent_id, at):
                        put_session(connection, session_id, account, agent_id, at)
                    case _Added(session_id, entry):
                        written.append((session_id, self._put(connection, session_id, entry)))
                    case _Ended(session_id, reason, at):
                        end_session(connection, session_id, reason, at)
        for session_id, digests in written:
            self._live.get(session_id, set()).update(digests)

    def _put(self, connection: Connection, session_id: str, entry: Entry) -> set[str]:
        """Write an entry; return the digests of the messages that were written with it."""
        document, bodies = to_document(entry)
        known = self._live.get(session_id, set())
        new = {digest: body for digest, body in bodies.items() if digest not in known}
        put_entry(connection, session_id, entry.id, entry.at, document, bodies=new)
        return set(new)

    def _forget(self, batch: list[_Change]) -> None:
        with self._changed:
            for _ in batch:
                change, size = self._waiting.popleft()
                self._characters -= size
                if isinstance(change, _Started):
                    self._live[change.session_id] = set()
                elif isinstance(change, _Ended):
                    self._live.pop(change.session_id, None)
            self._done += len(batch)
            self._changed.notify_all()

    def _look_after(self, work: Callable[[Connection, datetime], bool]) -> bool:
        try:
            with writing(self._engine) as connection:
                return work(connection, datetime.now(UTC))
        except (StorageUnavailableError, SQLAlchemyError) as error:
            log.warning("sessions are not looked after", error=type(error).__name__)
            return False

    def _beat(self, connection: Connection, now: datetime) -> bool:
        touch(connection, tuple(self._live), now)
        lost = end_lost(connection, now - timedelta(seconds=self._rhythm.lost_after_s))
        if lost:
            log.warning("sessions were lost with their gateway", count=lost)
        return False

    def _sweep(self, connection: Connection, now: datetime) -> bool:
        kept = max(timedelta(days=self._days), timedelta(seconds=self._rhythm.told_once_s))
        removed = remove_old(connection, now - kept, AT_ONCE)
        return len(removed) == AT_ONCE
