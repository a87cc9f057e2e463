"""The task `config.change`: the doorway for programs that put changes on the queue themselves."""

import time
from typing import Any, Final

import structlog
from celery import Celery
from celery.exceptions import Reject
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.config_message import MESSAGE_TASK
from workers.agent_config.messages import take_message
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.storage.events.inbox import send_event

PAUSE_S: Final = 1.0
"""How long a message is held before it goes back on the queue while the database is away."""

log = structlog.get_logger(__name__)


def add_message_task(app: Celery, engine: Engine, vault: Vault, *, max_entries: int = 1) -> None:
    """Register the task; whatever it is sent, it neither raises nor quotes it."""

    def change(*arguments: Any, **named: Any) -> None:
        if arguments or named.keys() != {"message"}:
            log.error("a config message was refused", reason="its one argument is `message`")
            return
        try:
            event_id = take_message(engine, vault, named["message"], max_entries=max_entries)
        except ChangeRefusedError as refusal:
            log.error("a config message was refused", reason=str(refusal))  # noqa: TRY400  # a traceback would hold what was sent
            return
        except StorageUnavailableError as error:
            log.warning("a config message waits for the database", error=str(error))
            time.sleep(PAUSE_S)
            raise Reject("the database is away", requeue=True) from None
        if event_id is None:
            log.info("a config message was taken before")
            return
        log.info("a config message was taken", event_id=event_id)
        _send(app, event_id)

    app.task(name=MESSAGE_TASK, acks_late=True, ignore_result=True)(change)


def _send(app: Celery, event_id: str) -> None:
    try:
        send_event(app, event_id)
    except (BrokerError, RedisError) as error:
        log.warning("an event is sent later", event_id=event_id, error=type(error).__name__)
