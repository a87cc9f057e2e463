"""What an LLM gateway process holds for as long as it lives."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from redis.asyncio import Redis

from workers.errors import ConfigurationError
from workers.llm_gateway.limits import RateLimits
from workers.llm_gateway.metrics import Metrics
from workers.llm_gateway.models_in_force import ModelsInForce
from workers.llm_gateway.usage import Usage
from workers.providers.warm_connections import WarmConnections
from workers.settings import Settings
from workers.storage.accounts.keys import look_up
from workers.storage.database import open_engine
from workers.storage.redis_client import connect
from workers.web.key_ring import KeyRing

Clock = Callable[[], datetime]

MOST: Final = 1_000
"""Requests to upstreams at once."""
WARM_S: Final = 30.0
"""How long a connection that is not used is kept, in seconds."""


@dataclass(frozen=True)
class Held:
    """The clients and books of one process; each is opened once."""

    keys: KeyRing
    models: ModelsInForce
    connections: WarmConnections
    redis: "Redis | None"
    limits: RateLimits
    usage: Usage
    metrics: Metrics
    clock: Clock


@contextlib.asynccontextmanager
async def open_held(
    settings: Settings, models: ModelsInForce, trusted: ssl.SSLContext, clock: Clock
) -> AsyncIterator[Held]:
    """Open all of them, close them in reverse; raises ConfigurationError without a key."""
    if settings.api_key is None:
        raise ConfigurationError("no API key: set EDGEWISE_API_KEY to at least 16 characters")
    async with contextlib.AsyncExitStack() as stack:
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        operator_key = settings.api_key.get_secret_value()
        keys = await stack.enter_async_context(KeyRing.open(operator_key, partial(look_up, engine)))
        redis = connect(settings) if settings.redis_url else None
        if redis is not None:
            stack.push_async_callback(redis.aclose)
        yield Held(
            keys=keys,
            models=models,
            connections=await stack.enter_async_context(_connections(trusted)),
            redis=redis,
            limits=RateLimits(redis),
            usage=await stack.enter_async_context(Usage.open(redis)),
            metrics=Metrics(),
            clock=clock,
        )


def _connections(trusted: ssl.SSLContext) -> WarmConnections:
    """Make the way out to the upstreams; of the environment only our own settings count."""
    return WarmConnections(verify=trusted, most=MOST, warm_s=WARM_S)
