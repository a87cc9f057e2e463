"""The connection to Redis, with a deadline on every wait."""

import asyncio
from collections.abc import Iterable
from typing import Final

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as BlockingRetry

from workers.errors import ConfigurationError
from workers.settings import Settings


class _CancellableSend(AbstractConnection):
    """A connection whose task can be cancelled while it sends.

    redis-py sends under `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
    arrives when the send is done (python/cpython#86296): one in twenty tasks lived on. It costs
    a task for every command, too.
    """

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002  # redis-py's signature
    ) -> None:
        """Send a packed command within the socket's timeout."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        if isinstance(command, str):
            command = command.encode()
        parts = [command] if isinstance(command, bytes) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(parts)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)
            raise


class _Tcp(_CancellableSend, Connection):
    pass


class _Tls(_CancellableSend, SSLConnection):
    pass


class _Unix(_CancellableSend, UnixDomainSocketConnection):
    pass


_CANCELLABLE: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def connect(settings: Settings) -> "Redis":
    """Return a client for the Redis in force; it connects at its first command.

    Commands give up after 5 s; a broken connection is tried again twice within 300 ms, so a
    restart of Redis shows as a short delay or as a `redis.exceptions.RedisError`.
    """
    pool = ConnectionPool.from_url(
        _url(settings),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[RedisConnectionError],
        max_connections=2_000,
        # redis-py looks its own version up on the disk for each connection: 2 ms.
        lib_name=None,
        lib_version=None,
    )
    pool.connection_class = _CANCELLABLE[pool.connection_class]
    return Redis.from_pool(pool)


async def open_ahead(redis: "Redis", count: int) -> None:
    """Open so many connections before they are needed; none where Redis is away."""
    pool = redis.connection_pool
    opened = await asyncio.gather(
        *(pool.get_connection() for _ in range(count)),  # type: ignore[no-untyped-call]  # so it is
        return_exceptions=True,
    )
    for connection in opened:
        if isinstance(connection, AbstractConnection):
            await pool.release(connection)
        elif not isinstance(connection, RedisError):
            raise connection


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
