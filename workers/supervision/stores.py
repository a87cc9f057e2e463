"""Whether the stores that the operator named answer: asked once, before anything is started."""

import asyncio
import contextlib
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from workers.errors import ConfigurationError
from workers.settings import Settings

ANSWER_S: Final = 3.0


async def check_stores(settings: Settings) -> None:
    """Return where each answers; raises ConfigurationError or DatabaseUnavailableError."""
    if settings.redis_url:
        await _check_redis(settings.redis_url)
    if settings.database_url:
        await asyncio.to_thread(_check_database, settings)


async def _check_redis(url: str) -> None:
    try:
        async with contextlib.aclosing(
            Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
        ) as redis:
            await redis.ping()
    except BusyLoadingError:
        return  # it is there, and will have its data soon
    except (RedisError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"the Redis of EDGEWISE_REDIS_URL does not answer ({type(error).__name__}): start it, "
            "or mend the URL; unset, a private one is started"
        ) from None


def _check_database(settings: Settings) -> None:
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415  # only where a database is named

    from workers.storage.database import open_engine, reading  # noqa: PLC0415  # the same

    try:
        engine = open_engine(settings)
    except (ImportError, ValueError, ArgumentError) as error:
        raise ConfigurationError(
            f"EDGEWISE_DATABASE_URL cannot be used ({type(error).__name__}): mend it; PostgreSQL "
            "needs `edgewise[postgres]`"
        ) from None
    try:
        with reading(engine):
            return
    finally:
        engine.dispose()
