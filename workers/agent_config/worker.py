"""The config worker as a process."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from celery import Celery, signals
from sqlalchemy import Engine

from schemas.config_event import CONFIG_QUEUE
from workers.agent_config.batch_task import add_batch_task
from workers.agent_config.endpoints import EndpointCheck
from workers.agent_config.message_tasks import add_message_task
from workers.agent_config.probing import ProbeWork, probing
from workers.agent_config.reconcile import reconciling
from workers.agent_config.sweep import sweeping
from workers.agent_config.tasks import add_tasks
from workers.agent_config.vault import Vault
from workers.celery_app import make_celery
from workers.errors import EdgewiseError, KeysUnavailableError, StorageUnavailableError
from workers.providers.base_url_allow import tools_allow, users_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.resolve import resolve_of_many
from workers.providers.trust import trusted_authorities
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.agents.probe_rows import probe_those_lost
from workers.storage.database import open_engine, writing
from workers.storage.events.withdrawal import withdraw_overdue
from workers.storage.presence import announce
from workers.storage.redis_client import connect_blocking
from workers.storage.upgrade import upgrade_engine
from workers.webhooks.deliver import delivering

SLOTS: Final = 4
"""Events at once: SQLite has one writer anyway, PostgreSQL scales by more workers."""
RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> None:
    """Apply config events until SIGTERM or SIGINT; what is under way is finished first.

    Raises EdgewiseError where it ends without having been asked to.
    """
    app, trusted = make_celery(settings, "config"), trusted_authorities(settings)
    with contextlib.ExitStack() as stack:
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        redis = stack.enter_context(contextlib.closing(connect_blocking(settings)))
        stack.callback(app.close)
        _migrate(engine)
        vault = Vault(keys_folder(settings.home_path), os.environ)
        _look_after_secrets(engine, vault)
        models, tools = (BaseUrlPolicy(of(settings)) for of in (users_allow, tools_allow))
        check = stack.enter_context(
            EndpointCheck.open(models, tools, max_entries=settings.max_llm_entries)
        )
        check_many = stack.enter_context(
            EndpointCheck.open(models, tools, resolve_of_many, max_entries=settings.max_llm_entries)
        )
        add_tasks(app, engine, redis, vault, check, lease_s=settings.config_lease_s)
        add_batch_task(app, engine, redis, vault, check_many, lease_s=settings.config_lease_s)
        add_message_task(app, engine, vault, max_entries=settings.max_llm_entries)
        stack.enter_context(_announced(settings))
        stack.enter_context(reconciling(engine, app))
        stack.enter_context(sweeping(engine, settings.config_retention_days))
        stack.enter_context(delivering(engine, settings, trusted))
        stack.enter_context(probing(ProbeWork(engine, vault.keys.find, settings, trusted)))
        _consume(app)


def _migrate(engine: Engine) -> None:
    """Bring the database up to date, and wait for it for as long as it is away."""
    while True:
        try:
            return upgrade_engine(engine)
        except StorageUnavailableError as error:
            log.warning("the database is not there yet", error=str(error))
            time.sleep(RETRY_S)


def _look_after_secrets(engine: Engine, vault: Vault) -> None:
    """Drop sealed keys that nobody waits for, and say at once where keys are lost."""
    now = datetime.now(UTC)
    try:
        with writing(engine) as connection:
            withdraw_overdue(connection, now)
        with writing(engine) as connection:
            probe_those_lost(connection, vault.keys_here())
        with writing(engine) as connection:
            vault.key_to_write_under(connection, now)
    except KeysUnavailableError as error:
        log.error("LLM keys cannot be stored", reason=str(error))  # noqa: TRY400  # the message is the whole story
    except StorageUnavailableError as error:
        # The first event finds out.
        log.warning("secrets were not looked after", error=type(error).__name__)


@contextlib.contextmanager
def _announced(settings: Settings) -> Iterator[None]:
    """Announce the worker from the moment it takes events until the end."""
    stop = threading.Event()
    announcing = threading.Thread(
        target=announce, args=(settings, "config", stop), name="announce", daemon=True
    )

    def start(**_: Any) -> None:
        announcing.start()
        log.info("config worker is ready", slots=SLOTS)

    signals.worker_ready.connect(start, weak=False)
    try:
        yield
    finally:
        signals.worker_ready.disconnect(start)
        stop.set()
        if announcing.is_alive():
            announcing.join(timeout=1)


def _consume(app: Celery) -> None:
    signals.setup_logging.connect(_keep_logging, weak=False)
    try:
        worker = app.Worker(
            hostname=f"config-{os.getpid()}@{socket.gethostname()}",
            pool="threads",
            concurrency=SLOTS,
            queues=[CONFIG_QUEUE],
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
    finally:
        signals.setup_logging.disconnect(_keep_logging)
    if worker.exitcode:
        raise EdgewiseError("the config worker broke off; its log says why")


def _keep_logging(**_: Any) -> None:
    """Take the place of Celery's own set-up of logging: ours is in force already."""
