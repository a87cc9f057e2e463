"""The SQL database: SQLite in the home, or PostgreSQL by URL."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from workers.errors import ConfigurationError, DatabaseUnavailableError, StorageUnavailableError
from workers.settings import Settings

BUSY_S: Final = 5
"""How long a statement waits for another writer, in seconds."""
LOOK_S: Final = 0.001
"""How often one looks that waits for the write lock of SQLite."""
_WRITES: Final = "edgewise_writes"
_locks: Final[WeakKeyDictionary[Engine, threading.Lock]] = WeakKeyDictionary()
"""For each SQLite engine, what its threads queue for before they write."""
_POSTGRES_CONNECT: Final = {
    "connect_timeout": 2,
    "tcp_user_timeout": 5_000,
    "options": "-c statement_timeout=5000 -c lock_timeout=4000",
}


def open_engine(settings: Settings) -> Engine:
    """Return the engine of the database in force; it connects at its first statement.

    Raises ConfigurationError where the URL names a database that we do not speak to.
    """
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_engine(
            url, hide_parameters=True, pool_timeout=BUSY_S, connect_args={"timeout": BUSY_S}
        )
        _locks[engine] = threading.Lock()
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_timeout=BUSY_S,
            pool_pre_ping=True,
            hide_parameters=True,  # they hold what was sent, and errors reach the log
            connect_args=_POSTGRES_CONNECT,
        )
    raise ConfigurationError(
        "EDGEWISE_DATABASE_URL is neither sqlite:/// nor postgresql+psycopg://"
    )


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads; raises StorageUnavailableError."""
    with _translated(), engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that may write, committed at the end; raises StorageUnavailableError.

    On SQLite it takes the write lock at once: a reader that turns writer half-way would fail
    where another process wrote meanwhile, without waiting. Threads of this process queue for it
    among themselves: SQLite has those who wait look again after longer and longer pauses.
    """
    with (
        _translated(),
        _first_among_threads(engine),
        engine.execution_options(**{_WRITES: True}).begin() as connection,
    ):
        yield connection


@contextlib.contextmanager
def _first_among_threads(engine: Engine) -> Iterator[None]:
    lock = _locks.get(engine)
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=BUSY_S):
        raise StorageUnavailableError("the database is busy")
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what means "not there, or not in time" into our error, which holds no statement."""
    try:
        yield
    except (OperationalError, PoolTimeoutError) as error:
        raise DatabaseUnavailableError(f"the database: {type(error).__name__}") from None
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StorageUnavailableError("the database closed the connection") from None
        raise


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins, not the driver: see _begin_sqlite
    connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    _ensure_wal(connection)


def _ensure_wal(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; SQLite does not wait for others here, so this does."""
    until = time.monotonic() + BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    driver: Any = connection.connection.driver_connection
    if options.get(_WRITES):
        _begin_to_write(driver)
    else:
        driver.execute("BEGIN")


def _begin_to_write(driver: sqlite3.Connection) -> None:
    """Take the write lock; SQLite itself looks for it again after pauses that grow to 100 ms."""
    until = time.monotonic() + BUSY_S
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # The lower byte: while it recovers a log behind a kill, SQLite says more than that.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise DatabaseUnavailableError(
                        f"the database: {type(error).__name__}"
                    ) from None
                if time.monotonic() > until:
                    raise DatabaseUnavailableError("the database is busy") from None
            else:
                return
            time.sleep(LOOK_S)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
