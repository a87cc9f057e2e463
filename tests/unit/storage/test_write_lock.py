"""SQLite's write lock: who waits for it has it soon after, and hears in time where it has not."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from workers.errors import DatabaseUnavailableError
from workers.settings import Settings
from workers.storage import database
from workers.storage.database import _begin_to_write, open_engine, writing


class Driver:
    """Refuses to begin with these codes, one after the other, then lets it happen."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.ran: list[str] = []

    def execute(self, statement: str) -> None:
        self.ran.append(statement)
        if statement.startswith("BEGIN") and self.codes:
            error = sqlite3.OperationalError("scripted")
            error.sqlite_errorcode = self.codes.pop(0)
            raise error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY])
def test_a_log_that_is_recovered_is_waited_for_as_another_writer_is(code: int) -> None:
    driver = Driver(code, code)
    _begin_to_write(driver)  # type: ignore[arg-type]  # all that is used of one
    assert driver.ran.count("BEGIN IMMEDIATE") == 3
    assert driver.ran[-1] == "PRAGMA busy_timeout=5000"


def test_another_failure_is_told_at_once_and_other_statements_wait_again() -> None:
    driver = Driver(sqlite3.SQLITE_IOERR)
    with pytest.raises(DatabaseUnavailableError):
        _begin_to_write(driver)  # type: ignore[arg-type]  # as above
    assert driver.ran[-1] == "PRAGMA busy_timeout=5000"


def test_two_processes_take_turns_and_one_that_waits_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(Settings(_env_file=None, home=tmp_path, database_url=None))
    with writing(engine):
        pass
    other = sqlite3.connect(tmp_path / "edgewise.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.2, other.execute, ("COMMIT",))
    letting_go.start()
    with writing(engine):
        pass
    letting_go.join()
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="busy"), writing(engine):
        pass
    assert time.monotonic() - began < 2
    other.close()
    engine.dispose()
