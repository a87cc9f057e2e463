"""Kombu's Redis transport, without two flaws that end a worker.

Seen with kombu and celery 5.7.0: when Redis goes away while a message is not acknowledged,
the channel is asked to give it back, or the finished task to acknowledge it, on a connection
that has been closed and has forgotten its address. That raises AttributeError where Celery
awaits connection errors, and Celery takes it for unrecoverable. So it does where an entry of
the queue's list is no message.
"""

import uuid
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

log = structlog.get_logger(__name__)


class Channel(kombu_redis.Channel):
    """A channel that says by a connection error that its connection is closed.

    What it left unacknowledged comes back by itself once its visibility timeout has passed.
    """

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu does not type it
        except (ValueError, RecursionError) as error:  # no JSON
            _say_dropped(error)
            return True

    def _connparams(self, *args: Any, **options: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection to the broker is closed")
        return super()._connparams(*args, **options)  # type: ignore[no-untyped-call]  # kombu does not type it


class Transport(kombu_redis.Transport):
    """The Redis transport with that channel; it drops what is no message, and does not quote it."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            # Producers choose tags, and one that was there before would settle another message.
            message["properties"]["delivery_tag"] = str(uuid.uuid4())
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # kombu does not type it
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            _say_dropped(error)


def _say_dropped(error: Exception) -> None:
    log.error("an entry of the queue is no message and was dropped", error=type(error).__name__)


def install() -> None:
    """Let every broker connection of this process to a Redis use this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
