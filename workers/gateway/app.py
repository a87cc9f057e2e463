"""The gateway's ASGI application: what is answered where, and behind which checks."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator
from functools import partial
from operator import attrgetter
from typing import Final

import structlog
from fastapi import FastAPI

from schemas.batch import MAX_BATCH_BYTES
from workers.errors import ConfigurationError
from workers.gateway import health, tokens
from workers.gateway.configuring import (
    agents,
    batches,
    llm_health,
    sealing_key,
    webhook_endpoints,
    webhook_sources,
    webhooks,
)
from workers.gateway.cors import add_cors
from workers.gateway.openapi import describe
from workers.gateway.resources import open_resources
from workers.gateway.rest_errors import add_error_handlers, crash_response
from workers.gateway.session.registry import SessionRegistry
from workers.gateway.session.session_history import router as session_history_router
from workers.gateway.session.sessions import router as sessions_router
from workers.settings import Settings
from workers.storage.accounts.keys import look_up
from workers.web.body_limit import BodyLimit
from workers.web.key_ring import KeyRing
from workers.web.request_log import RequestLog

MAX_BODY: Final = 1_048_576
"""Longest body of a request, in bytes."""

CLOSE_S: Final = 1.5
"""How long sessions may take to end when the process stops, in seconds."""

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Make the gateway; it opens its resources when it starts and closes them when it stops.

    Raises ConfigurationError where there is no API key to check callers against.
    """
    if settings.api_key is None:
        raise ConfigurationError("no API key: set EDGEWISE_API_KEY to at least 16 characters")
    operator_key = settings.api_key.get_secret_value()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_resources(settings) as resources,
            KeyRing.open(operator_key, partial(look_up, resources.engine)) as keys,
        ):
            app.state.resources = resources
            app.state.keys = keys
            app.state.sessions = sessions = SessionRegistry(resources)
            try:
                yield
            finally:
                await _close(sessions)

    app = FastAPI(
        title="Edgewise",
        version=importlib.metadata.version("edgewise"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=attrgetter("name"),
    )
    app.include_router(health.router)
    app.include_router(agents.router)
    app.include_router(batches.router)
    app.include_router(llm_health.router)
    app.include_router(tokens.router)
    app.include_router(sealing_key.router)
    app.include_router(session_history_router)
    app.include_router(sessions_router)
    app.include_router(webhook_sources.router)
    app.include_router(webhook_endpoints.router)
    app.include_router(webhooks.router)
    app.openapi = describe(app)  # type: ignore[method-assign]  # as FastAPI documents it
    add_error_handlers(app)
    app.add_middleware(
        BodyLimit, limit=MAX_BODY, own={"/v1/batches": (MAX_BATCH_BYTES, batches.ARRIVE_S)}
    )
    add_cors(app, settings.cors_origins)
    app.add_middleware(RequestLog, on_crash=crash_response)
    return app


async def _close(sessions: SessionRegistry) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await sessions.close()
    except TimeoutError:
        log.warning("some sessions did not end in time")
