"""What a turn reads and writes in Redis while it is under way."""

import contextlib
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from workers.turns.lost import AttemptLostError


@contextlib.asynccontextmanager
async def on_redis() -> AsyncIterator[None]:
    """Raise AttemptLostError where Redis fails in the block."""
    try:
        yield
    except RedisError as error:
        raise AttemptLostError from error
