"""Entries of many streams, written together: one round trip for all that wait for one."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

Fields = dict[str, str | bytes]

EXPIRE_S: Final = 300
"""A stream is gone this long after its last entry, in seconds."""
MAX_ENTRIES: Final = 10_000
"""More than the longest utterance and reply need; a bound, not a size."""
MOST: Final = 64
"""Writes in one round trip."""


@dataclass(frozen=True)
class _Write:
    """What one caller writes to one stream."""

    stream: str
    entries: list[Fields]
    done: asyncio.Future[None] = field(default_factory=asyncio.Future)


class JointWrites:
    """Appends entries to capped streams that expire.

    A hundred turns write some thousand times a second. What comes while a round trip is under
    way goes with the next one, in the order of the calls; a single caller waits for nobody.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._waiting: list[_Write] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, stream: str, entries: list[Fields]) -> None:
        """Append entries, all or none; raises RedisError."""
        write = _Write(stream, entries)
        self._waiting.append(write)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="stream-writes")
        await write.done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._write_batch([write for write in batch if not write.done.done()])
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[_Write]) -> None:
        try:
            answers = await self._execute(batch)
        except Exception as failure:  # noqa: BLE001  # it is raised where each of them waits
            answers = [failure] * sum(len(write.entries) for write in batch)
        for write in batch:
            own, answers = answers[: len(write.entries)], answers[len(write.entries) :]
            if write.done.done():  # its caller was cancelled meanwhile
                continue
            error = next((answer for answer in own if isinstance(answer, Exception)), None)
            if error is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(error)

    async def _execute(self, batch: list[_Write]) -> list[object]:
        """Return the answers to all entries, in order, errors among them."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for write in batch:
                for entry in write.entries:
                    pipe.xadd(write.stream, entry, maxlen=MAX_ENTRIES, approximate=True)  # type: ignore[arg-type]  # redis types its fields invariantly
            for stream in {write.stream for write in batch}:
                pipe.expire(stream, EXPIRE_S)
            return list(await pipe.execute(raise_on_error=False))
