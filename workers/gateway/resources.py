"""What a gateway process holds for as long as it lives."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from celery import Celery
from redis.asyncio import Redis
from sqlalchemy import Engine

from workers.celery_app import make_celery
from workers.errors import ConfigurationError, StorageUnavailableError
from workers.gateway.configuring.agent_changes import AgentChanges
from workers.gateway.configuring.batch_inbox import BatchInbox
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.configuring.source_keeper import SourceKeeper
from workers.gateway.configuring.tool_sealer import ToolSealer
from workers.gateway.configuring.webhook_inbox import WebhookInbox
from workers.providers.base_url_allow import tools_allow, users_allow, webhooks_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.secrets.key_files import keys_folder
from workers.secrets.secret_box import SecretBox
from workers.settings import Settings
from workers.storage.agents.apologies import Apologies
from workers.storage.agents.lookup import AgentStore
from workers.storage.database import open_engine
from workers.storage.redis_client import connect
from workers.storage.sessions.conversation import History
from workers.storage.sessions.history import SessionHistory
from workers.storage.sessions.recorder import SessionRecorder
from workers.storage.turns.streams import TurnStreams
from workers.storage.upgrade import upgrade_engine

RETRY_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Resources:
    """The clients of one gateway process; each is opened once."""

    settings: Settings
    redis: "Redis"
    streams: TurnStreams
    history: History
    engine: Engine
    agents: AgentStore
    apologies: Apologies
    recorder: SessionRecorder
    session_history: SessionHistory
    celery: Celery
    changes: AgentChanges
    sources: SourceKeeper
    inbox: WebhookInbox
    endpoints: EndpointKeeper
    batches: BatchInbox


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open all of them, bring the database up to date, close them in reverse."""
    async with contextlib.AsyncExitStack() as stack:
        redis = connect(settings)
        stack.push_async_callback(redis.aclose)
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        celery = make_celery(settings, "gateway")
        stack.callback(celery.close)
        sealer = _sealer(settings)
        changes = await stack.enter_async_context(AgentChanges.open(engine, redis, celery, sealer))
        box = SecretBox(keys_folder(settings.home_path), os.environ)
        inbox = await stack.enter_async_context(WebhookInbox.open(engine, celery, box, sealer))
        migration = asyncio.create_task(_migrate(engine), name="migrate the database")
        stack.push_async_callback(_stop, migration)
        await asyncio.wait([migration], timeout=RETRY_S)
        days = settings.session_history_days
        recorder = stack.enter_context(SessionRecorder.open(engine, days))
        yield Resources(
            settings=settings,
            redis=redis,
            streams=TurnStreams(redis),
            history=History(redis),
            engine=engine,
            agents=AgentStore(engine, redis),
            apologies=Apologies(redis),
            recorder=recorder,
            session_history=SessionHistory(engine, redis, recorder),
            celery=celery,
            changes=changes,
            sources=SourceKeeper(engine, box),
            inbox=inbox,
            endpoints=EndpointKeeper(engine, box, BaseUrlPolicy(webhooks_allow(settings))),
            batches=stack.enter_context(BatchInbox.open(engine, celery, sealer)),
        )


def _sealer(settings: Settings) -> Sealer:
    folder = keys_folder(settings.home_path)
    models, tools = (BaseUrlPolicy(of(settings)) for of in (users_allow, tools_allow))
    sealer = ToolSealer(folder, os.environ, tools)
    return Sealer(folder, os.environ, models, sealer, max_entries=settings.max_llm_entries)


async def _migrate(engine: Engine) -> None:
    """Migrate, and keep at it while the database is away: sessions run without it."""
    while True:
        try:
            await asyncio.to_thread(upgrade_engine, engine)
        except StorageUnavailableError as error:
            log.warning("the database is not there yet", error=str(error))
            await asyncio.sleep(RETRY_S)
        except ConfigurationError as error:
            log.error("the database cannot be used", error=str(error))  # noqa: TRY400  # says how to mend it
            return
        else:
            return


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        log.error("the database could not be migrated", error=str(task.exception()))
