"""Forgets settled events after their days of retention: a thread of every config worker.

It goes in small steps with pauses between them, so that nobody waits long for the database.
"""

import contextlib
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Engine

from workers.errors import StorageUnavailableError
from workers.storage.database import writing
from workers.storage.retention import forget_before

EVERY_S: Final = 600.0
STEP: Final = 500
"""Rows of each kind that one transaction deletes at most."""
PAUSE_S: Final = 0.1

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def sweeping(engine: Engine, days: float) -> Iterator[None]:
    """Forget what was settled so many days ago, at once and about every ten minutes."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(engine, days, stop), name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=1)


def sweep(engine: Engine, before: datetime, stop: threading.Event, step: int = STEP) -> int:
    """Forget all that is older, and return how many rows; raises StorageUnavailableError."""
    total = 0
    while not stop.is_set():
        with writing(engine) as connection:
            count = forget_before(connection, before, step)
        total += count
        if count == 0:
            break
        stop.wait(PAUSE_S)
    return total


def _run(engine: Engine, days: float, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            count = sweep(engine, datetime.now(UTC) - timedelta(days=days), stop)
        except StorageUnavailableError as error:
            log.warning("old config events were not forgotten", error=type(error).__name__)
        else:
            if count:
                log.info("old config events were forgotten", rows=count)
        stop.wait(EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, guards nothing
