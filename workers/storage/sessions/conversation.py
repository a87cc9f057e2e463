"""The conversation of a session as its model is to know it, written by the gateway alone."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter
from redis.asyncio import Redis

from schemas.closed import Closed
from workers.storage.turns.tool_records import ToolRecords

EXPIRE_S = 24 * 3600
MAX_ENTRIES = 400


class Exchange(Closed):
    """One turn as it was heard: `user` is empty for a greeting and where nobody spoke."""

    type: Literal["exchange"] = "exchange"
    turn_id: str
    user: str
    agent: str
    interrupted: bool


class Added(Closed):
    """A message that the client added to the conversation."""

    type: Literal["added"] = "added"
    role: Literal["user", "assistant", "system"]
    content: str


Entry = Exchange | Added
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="type")])


def _key(session_id: str) -> str:
    return f"session:{session_id}:history"


class History:
    """The conversations of sessions, in Redis."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def append(self, session_id: str, entry: Entry) -> None:
        """Add an entry; the oldest beyond 400 fall away, all of it a day after the last."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(_key(session_id), entry.model_dump_json())
            pipe.ltrim(_key(session_id), -MAX_ENTRIES, -1)
            pipe.expire(_key(session_id), EXPIRE_S)
            await pipe.execute()

    async def read(self, session_id: str) -> tuple[Entry, ...]:
        """Return the entries so far, oldest first."""
        entries = await self._redis.lrange(_key(session_id), 0, -1)
        return tuple(_ENTRY.validate_json(entry) for entry in entries)

    async def forget(self, session_id: str) -> None:
        """Remove the conversation and what its tools were asked and answered."""
        await self._redis.delete(_key(session_id))
        await ToolRecords(self._redis).forget(session_id)
