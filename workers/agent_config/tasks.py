"""The doorway from the queue: decode, apply, hand the results to who waits for them."""

from collections.abc import Sequence
from datetime import UTC, datetime
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
from schemas.config_event import CONFIG_TASK, ConfigTask, result_key
from workers.agent_config.apply import LEASE_S
from workers.agent_config.opening import Check
from workers.agent_config.settling import Outcome
from workers.agent_config.together import apply_together
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.storage.agents.copies import STORE_COPY, copy_arguments, copy_key, gone_arguments
from workers.storage.events.inbox import send_event

RESULT_S: Final = 30
"""How long a result waits for its reader, in seconds."""
RETRY_S: Final = 0.5
RETRIES: Final = 3

log = structlog.get_logger(__name__)


def add_tasks(
    app: Celery,
    engine: Engine,
    redis: Redis,
    vault: Vault,
    check: Check,
    *,
    lease_s: float = LEASE_S,
) -> None:
    """Register the task `config.apply` with its clients."""

    def apply(task: Task, message: Any) -> None:
        try:
            event_id, others = _named(message)
        except ValidationError as error:
            log.error("a config message is malformed", mistakes=error.error_count())  # noqa: TRY400  # a traceback would hold what was sent
            return
        with structlog.contextvars.bound_contextvars(event_id=event_id):
            try:
                settled, ids, send = 0, (event_id, *others), partial(_send, app)
                for outcomes in apply_together(
                    engine, ids, _now, vault, check, lease_s=lease_s, send=send
                ):
                    announce_results(redis, outcomes)
                    settled += len(outcomes)
            except StorageUnavailableError as error:
                log.warning("the database is away", error=str(error))
                raise task.retry(exc=error, countdown=RETRY_S) from None
            if not settled:
                log.info("nothing to do for a config event: settled, or its turn comes later")

    app.task(name=CONFIG_TASK, bind=True, acks_late=True, ignore_result=True, max_retries=RETRIES)(
        apply
    )


def _named(message: Any) -> tuple[str, tuple[str, ...]]:
    task = ConfigTask.model_validate(message)
    return task.event_id, task.others


def _send(app: Celery, event_id: str) -> bool:
    try:
        send_event(app, event_id)
    except (BrokerError, RedisError):
        return False
    return True


def _now() -> datetime:
    return datetime.now(UTC)


def announce_results(redis: Redis, outcomes: Sequence[Outcome]) -> None:
    """Renew the copies of the agents that turns read, then wake the calls that wait.

    Without Redis both catch up: a copy is looked up again after 30 s, a call asks the database.
    """
    for result, _, _ in outcomes:
        log.info("config event settled", event_id=result.event_id, status=result.status)
    try:
        with redis.pipeline(transaction=True) as pipe:
            for result, stored, gone in outcomes:
                if stored is not None:
                    pipe.eval(STORE_COPY, 1, copy_key(stored.agent.id), *copy_arguments(stored))
                if gone is not None:
                    pipe.eval(STORE_COPY, 1, copy_key(gone.agent.id), *gone_arguments(gone))
                    pipe.delete(apology_key(gone.agent.id))
                key = result_key(result.event_id)
                pipe.rpush(key, result.model_dump_json())
                pipe.expire(key, RESULT_S)
            pipe.execute()
    except RedisError as error:
        log.warning("results could not be announced", error=type(error).__name__)
