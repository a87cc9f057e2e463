"""Which workers are there: each says so every second, and is forgotten after five."""

import os
import secrets
import socket
import threading
from typing import Final, Literal, cast

import structlog
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.settings import Settings
from workers.storage.redis_client import connect_blocking

Kind = Literal["turns", "config"]
EVERY_S: Final = 1.0
FORGOTTEN_S: Final = 5

# One clock for all hosts: that of Redis.
_ANNOUNCE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_COUNT = """
return redis.call('ZCOUNT', KEYS[1], tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1]), '+inf')
"""

log = structlog.get_logger(__name__)


def _key(kind: Kind) -> str:
    return f"presence:{kind}"


def announce(settings: Settings, kind: Kind, stop: threading.Event) -> None:
    """Say every second that a worker of this kind is there, until `stop` is set; blocks.

    Trouble with Redis is logged and outlived. At the end the worker is gone at once.
    """
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with connect_blocking(settings) as redis:
        while not stop.is_set():
            try:
                redis.eval(_ANNOUNCE, 1, _key(kind), name, FORGOTTEN_S)
            except RedisError as error:
                log.warning("cannot announce this worker", error=type(error).__name__)
            stop.wait(EVERY_S)
        try:
            redis.zrem(_key(kind), name)
        except RedisError:
            log.info("Redis is gone already, so this worker fades out by itself")


async def count(redis: "Redis", kind: Kind) -> int:
    """Return how many workers of this kind are there; raises redis.exceptions.RedisError."""
    return int(await redis.eval(_COUNT, 1, _key(kind), FORGOTTEN_S))


def is_here(redis: "BlockingRedis", kind: Kind, host: str) -> bool:
    """Tell whether a worker of this kind on this host is there; raises RedisError."""
    now = int(redis.time()[0])
    names = cast("list[bytes]", redis.zrangebyscore(_key(kind), now - FORGOTTEN_S, "+inf"))
    return any(name.startswith(f"{host}:".encode()) for name in names)
