"""The task `config.apply_batch`: one group of rows, and word to go on.

A batch that is long takes a worker's time in small pieces: what else came in, a REST call that
waits for one, has its turn between two groups.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from celery import Celery, Task
from kombu.exceptions import OperationalError as BrokerError
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.apology import apology_key
from schemas.batch import BATCH_TASK, BatchTask
from workers.agent_config.apply import LEASE_S
from workers.agent_config.groups import Applied, apply_group
from workers.agent_config.opening import Check
from workers.agent_config.settling import Outcome
from workers.agent_config.tasks import RETRIES, RETRY_S
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.storage.agents.copies import RENEW_COPY, copy_arguments, copy_key, gone_arguments
from workers.storage.batches.sweep import postpone
from workers.storage.database import writing
from workers.storage.events.inbox import RESEND_S, send_batch, send_event

IDLE_S: Final = 0.2
"""How long a batch rests whose next rows all wait for others."""
SLOW_S: Final = 1.0
"""A group that took longer, as where names hang, lets others have its slot for a while."""
OTHERS: Final = 3
"""That while, in times that the group took."""

log = structlog.get_logger(__name__)


def add_batch_task(
    app: Celery,
    engine: Engine,
    redis: Redis,
    vault: Vault,
    check: Check,
    *,
    lease_s: float = LEASE_S,
) -> None:
    """Register the task with its clients."""

    def apply(task: Task, message: Any) -> None:
        try:
            batch_id = BatchTask.model_validate(message).batch_id
        except ValidationError as error:
            log.error("a batch message is malformed", mistakes=error.error_count())  # noqa: TRY400  # a traceback would hold what was sent
            return
        began = time.monotonic()
        try:
            applied = apply_group(engine, batch_id, _now, vault, check, lease_s=lease_s)
        except StorageUnavailableError as error:
            log.warning("the database is away", error=str(error))
            raise task.retry(exc=error, countdown=RETRY_S) from None
        if applied is None:
            return
        renew_copies(redis, applied.outcomes)
        counts = {"alone": len(applied.alone), "behind": applied.behind}
        log.info("a group of rows was applied", batch_id=batch_id, rows=applied.size, **counts)
        pause_s = _pause_s(applied, time.monotonic() - began)
        _postpone(engine, batch_id, pause_s)
        _send(partial(send_batch, countdown_s=pause_s), app, batch_id)
        for event_id in [*applied.alone, *applied.followed]:
            _send(send_event, app, event_id)

    how = {"bind": True, "acks_late": True, "ignore_result": True, "max_retries": RETRIES}
    # Shared with other apps of the process, as by default, it would keep these clients there.
    app.task(name=BATCH_TASK, shared=False, **how)(apply)


def _pause_s(applied: Applied, took_s: float) -> float | None:
    """Return how long until the next group, in seconds; None: at once."""
    if took_s > SLOW_S:
        return OTHERS * took_s
    # Where all of it waits for what others are on, it is not asked for again at once.
    return IDLE_S if applied.behind == applied.size else None


def _postpone(engine: Engine, batch_id: str, pause_s: float | None) -> None:
    """Keep a batch that pauses from being sent a second time: two would go on side by side."""
    if pause_s is None:
        return
    due_at = _now() + timedelta(seconds=pause_s + RESEND_S)
    with contextlib.suppress(StorageUnavailableError), writing(engine) as connection:
        postpone(connection, batch_id, due_at)


def renew_copies(redis: Redis, outcomes: Sequence[Outcome]) -> None:
    """Renew the copies that are held of agents; without Redis they are looked up after 30 s."""
    try:
        with redis.pipeline(transaction=False) as pipe:
            for _, stored, gone in outcomes:
                if stored is not None:
                    pipe.eval(RENEW_COPY, 1, copy_key(stored.agent.id), *copy_arguments(stored))
                elif gone is not None:
                    pipe.eval(RENEW_COPY, 1, copy_key(gone.agent.id), *gone_arguments(gone))
                    pipe.delete(apology_key(gone.agent.id))
            pipe.execute()
    except RedisError as error:
        log.warning("copies of agents were not renewed", error=type(error).__name__)


def _send(send: Callable[[Celery, str], None], app: Celery, name: str) -> None:
    """Send; where that fails, the reconciler does it later."""
    try:
        send(app, name)
    except (BrokerError, RedisError) as error:
        log.warning("a message is sent later", id=name, error=type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)
