"""What tools were called in a turn and what they answered, in Redis, for a day.

It is what keeps a further attempt at a turn from calling anything twice, and what the model
is told of it in later turns.
"""

from dataclasses import replace
from typing import Final, cast

from pydantic import TypeAdapter
from redis.asyncio import Redis

from schemas.chat import ToolRound

EXPIRE_S: Final = 24 * 3600
MAX_TURNS: Final = 20
"""Turns with calls that a session keeps."""
_ROUND: Final = TypeAdapter(ToolRound)


def _turn_key(turn_id: str) -> str:
    return f"turn:{turn_id}:tools"


def _session_key(session_id: str) -> str:
    return f"session:{session_id}:tools"


class ToolRecords:
    """The records of all turns, on one Redis client."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def begin(
        self, session_id: str, turn_id: str, number: int, calls: ToolRound
    ) -> ToolRound:
        """Put a round on record and return it; the other where one of this number is there."""
        key, field = _turn_key(turn_id), f"round:{number}"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, field, _ROUND.dump_json(calls))
            pipe.hget(key, field)
            pipe.expire(key, EXPIRE_S)
            if number == 0:
                pipe.lrem(_session_key(session_id), 0, turn_id)
                pipe.rpush(_session_key(session_id), turn_id)
            pipe.expire(_session_key(session_id), EXPIRE_S)
            answers = await pipe.execute()
        if number == 0:
            await self._drop_old(session_id)
        return _ROUND.validate_json(answers[1])

    async def _drop_old(self, session_id: str) -> None:
        """Remove the turns beyond those that a session keeps."""
        key = _session_key(session_id)
        old = await self._redis.lrange(key, 0, -MAX_TURNS - 1)
        if old:
            await self._redis.ltrim(key, -MAX_TURNS, -1)
            await self._redis.delete(*(_turn_key(_text(turn_id)) for turn_id in old))

    async def claim(self, turn_id: str, number: int, index: int) -> bool:
        """Note that a call begins; False where that was noted before."""
        return bool(await self._redis.hsetnx(_turn_key(turn_id), f"begun:{number}:{index}", "1"))

    async def keep(self, turn_id: str, number: int, index: int, result: str) -> None:
        """Note what a call has answered."""
        await self._redis.hset(_turn_key(turn_id), f"result:{number}:{index}", result)

    async def result(self, turn_id: str, number: int, index: int) -> str | None:
        """Return what a call has answered, None where there is nothing (yet)."""
        held = await self._redis.hget(_turn_key(turn_id), f"result:{number}:{index}")
        return None if held is None else _text(held)

    async def rounds(self, turn_id: str) -> tuple[ToolRound, ...]:
        """Return the rounds of a turn with what they have answered so far."""
        fields = await self._redis.hgetall(_turn_key(turn_id))
        return _rounds(cast("dict[bytes, bytes]", fields))

    async def forget(self, session_id: str) -> None:
        """Remove the records of the session's turns."""
        turns = await self._redis.lrange(_session_key(session_id), 0, -1)
        keys = [_turn_key(_text(turn_id)) for turn_id in turns]
        await self._redis.delete(_session_key(session_id), *keys)

    async def of_session(self, session_id: str) -> dict[str, tuple[ToolRound, ...]]:
        """Return the rounds of the session's last turns that have any, by turn."""
        turns = [
            _text(turn_id) for turn_id in await self._redis.lrange(_session_key(session_id), 0, -1)
        ]
        if not turns:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for turn_id in turns:
                pipe.hgetall(_turn_key(turn_id))
            held = await pipe.execute()
        return {turn_id: _rounds(fields) for turn_id, fields in zip(turns, held, strict=True)}


def _text(held: bytes | str) -> str:
    return held.decode() if isinstance(held, bytes) else held


def _rounds(fields: dict[bytes, bytes]) -> tuple[ToolRound, ...]:
    rounds: list[ToolRound] = []
    while (held := fields.get(f"round:{len(rounds)}".encode())) is not None:
        found, number = _ROUND.validate_json(held), len(rounds)
        results = [
            fields.get(f"result:{number}:{index}".encode()) for index in range(len(found.calls))
        ]
        rounds.append(
            replace(
                found, results=tuple(None if each is None else each.decode() for each in results)
            )
        )
    return tuple(rounds)
