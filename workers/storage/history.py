"""What was said in a session, one entry per turn, written by the gateway alone."""

from redis.asyncio import Redis

from schemas.closed import Closed

EXPIRE_S = 24 * 3600
MAX_TURNS = 200


class Exchange(Closed):
    """One turn as it was heard: `user` is empty for a greeting."""

    turn_id: str
    user: str
    agent: str
    interrupted: bool


def _key(session_id: str) -> str:
    return f"session:{session_id}:history"


class History:
    """The conversations of sessions, in Redis."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def append(self, session_id: str, exchange: Exchange) -> None:
        """Add a turn; the oldest beyond 200 fall away, all of it a day after the last."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(_key(session_id), exchange.model_dump_json())
            pipe.ltrim(_key(session_id), -MAX_TURNS, -1)
            pipe.expire(_key(session_id), EXPIRE_S)
            await pipe.execute()

    async def read(self, session_id: str) -> tuple[Exchange, ...]:
        """Return the turns so far, oldest first."""
        entries = await self._redis.lrange(_key(session_id), 0, -1)
        return tuple(Exchange.model_validate_json(entry) for entry in entries)
