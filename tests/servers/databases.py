"""Which database stands behind the home of a test that names none.

SQLite in the home, as for a user who sets nothing. Under `TEST_DATABASE=postgresql` it is, for
each home, a database of its own in a PostgreSQL of the test run's own.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers.postgres import running_postgres

URL = "EDGEWISE_DATABASE_URL"
_new_database: list[Callable[[], str]] = []
_urls: dict[str, str] = {}


@contextlib.contextmanager
def chosen_database() -> Iterator[None]:
    """Run what `TEST_DATABASE` asks for until the end."""
    choice = os.environ.get("TEST_DATABASE", "sqlite")
    if choice == "sqlite":
        yield
        return
    assert choice == "postgresql", f"TEST_DATABASE is {choice}, not sqlite or postgresql"
    with running_postgres() as server:
        _new_database.append(server.new_database)
        yield
        _new_database.clear()


def database_of(home: str | Path) -> str | None:
    """Return the URL of a home's database; None where it is SQLite in the home."""
    if not _new_database:
        return None
    key = str(home)
    if key not in _urls:
        _urls[key] = _new_database[0]()
    return _urls[key]
