"""Sends config events again that should have been settled by now.

A thread of every config worker: it lives exactly as long as there is someone to apply, and
needs neither a further process nor the queue whose losses it makes good. Several workers do
not storm: an event is claimed in the database before it is sent, so it goes out once in
`RESEND_S` however many look, a bounded number at a time, at moments that drift apart.
"""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.config_event import MOST_AT_ONCE
from workers.errors import StorageUnavailableError
from workers.storage.batches.rows import has_lost_rows, regroup
from workers.storage.batches.sweep import claim_stalled, has_leftovers, stalled, sweep_leftovers
from workers.storage.database import reading, writing
from workers.storage.events.inbox import RESEND_S, send_batch, send_event, send_events
from workers.storage.events.leases import claim_overdue, overdue
from workers.storage.events.withdrawal import withdraw_overdue

EVERY_S: Final = 1.0
AT_A_TIME: Final = 100
RESTED_EVERY: Final = 4
"""At every so manieth look, those that have rested are sent: each time they may keep one of a
worker's slots for seconds, in vain, and calls that wait have the others.
"""

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def reconciling(engine: Engine, celery: Celery) -> Iterator[None]:
    """Send overdue events again in a thread of its own, about once a second, until the end."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_run, args=(engine, celery, stop), name="reconcile", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=1)


def reconcile(engine: Engine, send: Callable[[str], None], now: datetime) -> int:
    """Withdraw events whose time is up, send others that are overdue; return how many were sent.

    Raises StorageUnavailableError and what `send` raises; what was claimed and not sent is due
    again after `RESEND_S`.
    """
    with reading(engine) as connection:
        late = overdue(connection, now, AT_A_TIME)
    if not late:
        return 0
    next_time = now + timedelta(seconds=RESEND_S)
    with writing(engine) as connection:
        withdraw_overdue(connection, now)
        claimed = [each for each in late if claim_overdue(connection, each, now, next_time)]
    for event_id in claimed:
        send(event_id)
    return len(claimed)


def reconcile_rested(engine: Engine, send: Callable[[Sequence[str]], None], now: datetime) -> int:
    """Send events that have rested again, together: what they wait for may be away still.

    Raises as `reconcile` does.
    """
    with reading(engine) as connection:
        late = overdue(connection, now, MOST_AT_ONCE, rested=True)
    if not late:
        return 0
    next_time = now + timedelta(seconds=RESEND_S)
    with writing(engine) as connection:
        claimed = [each for each in late if claim_overdue(connection, each, now, next_time)]
    if claimed:
        send(claimed)
    return len(claimed)


def reconcile_batches(engine: Engine, send: Callable[[str], None], now: datetime) -> int:
    """Send batches that stalled again and return how many; remove what is left of given-up ones.

    Rows whose worker ended in the middle go into another group. Raises as `reconcile` does.
    """
    with reading(engine) as connection:
        late = stalled(connection, now, AT_A_TIME)
        is_untidy = has_leftovers(connection, now)
        has_lost = has_lost_rows(connection, now)
    if has_lost:
        with writing(engine) as connection:
            lost = regroup(connection, now)
        for batch_id in lost:
            send(batch_id)
    if is_untidy:
        with writing(engine) as connection:
            sweep_leftovers(connection, now)
    if not late:
        return 0
    next_time = now + timedelta(seconds=RESEND_S)
    with writing(engine) as connection:
        claimed = [each for each in late if claim_stalled(connection, each, now, next_time)]
    for batch_id in claimed:
        send(batch_id)
    return len(claimed)


def _run(engine: Engine, celery: Celery, stop: threading.Event) -> None:
    send, send_group = partial(send_event, celery), partial(send_batch, celery)
    looks = itertools.count()
    while not stop.wait(EVERY_S * random.uniform(0.5, 1.5)):  # noqa: S311  # spreads load, guards nothing
        try:
            count = reconcile_batches(engine, send_group, datetime.now(UTC))
            count += reconcile(engine, send, datetime.now(UTC))
            if next(looks) % RESTED_EVERY == 0:
                count += reconcile_rested(engine, partial(send_events, celery), datetime.now(UTC))
        except (StorageUnavailableError, BrokerError, RedisError) as error:
            log.warning("overdue config events were not sent", error=type(error).__name__)
        else:
            if count:
                log.info("overdue config events were sent again", count=count)
