"""The connection to Redis, with a deadline on every wait."""

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry as BlockingRetry

from workers.errors import ConfigurationError
from workers.settings import Settings


def connect(settings: Settings) -> "Redis":
    """Return a client for the Redis in force; it connects at its first command.

    Commands give up after 5 s; a broken connection is tried again twice within 300 ms, so a
    restart of Redis shows as a short delay or as a `redis.exceptions.RedisError`.
    """
    return Redis.from_url(
        _url(settings),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
        max_connections=2_000,
    )


def connect_blocking(settings: Settings) -> BlockingRedis:
    """Return a client for threads, with the same deadlines as `connect`."""
    return BlockingRedis.from_url(
        _url(settings),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
        retry=BlockingRetry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
    )


def _url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise ConfigurationError(
            "no Redis to work with: set EDGEWISE_REDIS_URL, or run `edgewise up`, "
            "which starts a private one"
        )
    return settings.redis_url
