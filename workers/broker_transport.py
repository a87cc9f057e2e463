"""Kombu's Redis transport, without the flaw that ends a worker when Redis restarts.

Seen with kombu and celery 5.7.0: when Redis goes away while a message is not acknowledged,
the channel is asked to give it back, or the finished task to acknowledge it, on a connection
that has been closed and has forgotten its address. That raises AttributeError where Celery
awaits connection errors, and Celery takes it for unrecoverable.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError


class Channel(kombu_redis.Channel):
    """A channel that says by a connection error that its connection is closed.

    What it left unacknowledged comes back by itself once its visibility timeout has passed.
    """

    def _connparams(self, *args: Any, **options: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection to the broker is closed")
        return super()._connparams(*args, **options)  # type: ignore[no-untyped-call]  # kombu does not type it


class Transport(kombu_redis.Transport):
    """The Redis transport with that channel."""

    Channel = Channel


def install() -> None:
    """Let every broker connection of this process to a Redis use this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
