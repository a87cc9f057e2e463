"""The two Redis streams of a turn: the utterance in, the reply out. Capped, and they expire."""

import json
from collections.abc import AsyncIterator
from typing import cast

from redis.asyncio import Redis

from schemas.turn import (
    Spoken,
    TurnInput,
    TurnReply,
    input_from_fields,
    input_stream,
    reply_from_fields,
    reply_stream,
    spoken_key,
    to_fields,
)
from workers.storage.turns.joint_writes import EXPIRE_S, JointWrites

Fields = dict[bytes, bytes]


class TurnStreams:
    """Reads and writes the streams of turns on one Redis client."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._writes = JointWrites(redis)

    async def write_input(self, turn_id: str, *entries: TurnInput) -> None:
        """Append entries to the utterance, all or none."""
        await self._writes.write(input_stream(turn_id), [to_fields(entry) for entry in entries])

    async def write_reply(self, turn_id: str, *entries: TurnReply) -> None:
        """Append entries to the reply, all or none."""
        await self._writes.write(reply_stream(turn_id), [to_fields(entry) for entry in entries])

    async def read_input(self, turn_id: str, *, wait_ms: int) -> AsyncIterator[TurnInput | None]:
        """Yield the utterance from its first entry on; None whenever `wait_ms` pass without one."""
        async for fields in self._read(input_stream(turn_id), wait_ms):
            yield None if fields is None else input_from_fields(fields)

    async def read_reply(self, turn_id: str, *, wait_ms: int) -> AsyncIterator[TurnReply | None]:
        """Yield the reply from its first entry on; None whenever `wait_ms` pass without one."""
        async for fields in self._read(reply_stream(turn_id), wait_ms):
            yield None if fields is None else reply_from_fields(fields)

    async def _read(self, stream: str, wait_ms: int) -> AsyncIterator[Fields | None]:
        last: bytes | str = "0"
        while True:
            answer = await self._redis.xread({stream: last}, count=64, block=wait_ms)
            if not answer:
                yield None
                continue
            for entry_id, fields in _entries(answer):
                last = entry_id
                yield fields

    async def write_spoken(self, turn_id: str, spoken: tuple[Spoken, ...]) -> None:
        """Store what a further attempt must not say again; replaces what was stored."""
        value = json.dumps([sentence.model_dump() for sentence in spoken])
        await self._redis.set(spoken_key(turn_id), value, ex=EXPIRE_S)

    async def read_spoken(self, turn_id: str) -> tuple[Spoken, ...]:
        """Read what was said already; empty on a first attempt."""
        value = await self._redis.get(spoken_key(turn_id))
        return tuple(Spoken(**sentence) for sentence in json.loads(value)) if value else ()


def _entries(answer: object) -> list[tuple[bytes, Fields]]:
    """Unwrap the one stream of an XREAD answer, a list under RESP2 and a map under RESP3."""
    if isinstance(answer, dict):
        batches = cast("dict[bytes, list[list[tuple[bytes, Fields]]]]", answer)
        return [entry for batch in next(iter(batches.values())) for entry in batch]
    return cast("list[tuple[bytes, list[tuple[bytes, Fields]]]]", answer)[0][1]
