"""What the gateway says for an agent whose turn workers are gone: kept in Redis, made ahead."""

from typing import Final, cast

from redis.asyncio import Redis

from schemas.apology import Apology, Wording, apology_key, from_fields, to_fields

KEEP_S: Final = 7 * 24 * 3600
"""How long an apology is kept that nobody renews, in seconds."""
FRESH_S: Final = 24 * 3600
"""How long it is not made anew, in seconds: the operator may change what speaks."""


class Apologies:
    """The apologies of all agents, on one Redis client; every method raises RedisError."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def keep(self, agent_id: str, apology: Apology) -> None:
        """Store it for a week, in place of the one that is there."""
        key = apology_key(agent_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=to_fields(apology))  # type: ignore[arg-type]  # redis types its fields invariantly
            pipe.expire(key, KEEP_S)
            await pipe.execute()

    async def is_fresh(self, agent_id: str, wording: Wording) -> bool:
        """Tell whether one of this wording was made within the last day."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hget(apology_key(agent_id), "body")
            pipe.ttl(apology_key(agent_id))
            body, remaining_s = await pipe.execute()
        return bool(body == wording.model_dump_json().encode() and remaining_s > KEEP_S - FRESH_S)

    async def read(self, agent_id: str) -> Apology | None:
        """Return it, None where there is none; raises ValueError where it is malformed."""
        fields = cast("dict[bytes, bytes]", await self._redis.hgetall(apology_key(agent_id)))
        return from_fields(fields) if fields else None
