"""The user's side of a turn: packets and gate changes, written to the turn's input stream."""

import asyncio
from typing import Final

import structlog
from redis.exceptions import RedisError

from schemas.turn import Cancel, End, ToolResult, TurnInput, UserAudio
from workers.storage.turns.streams import TurnStreams

BATCH: Final = 3
"""Packets that are written at once: 60 ms, for a write costs more than a packet."""
MAX_WAITING: Final = 3_000
"""Entries that wait for Redis; a minute of speech. What comes beyond is lost."""
RETRY_S: Final = 0.25
GIVE_UP_S: Final = 5.0
_log = structlog.get_logger(__name__)


class Utterance:
    """Takes what the user says without waiting; `write` carries it to Redis, in order."""

    def __init__(self, turn_id: str, streams: TurnStreams) -> None:
        self._turn_id = turn_id
        self._streams = streams
        self._batch: list[bytes] = []
        self._waiting: list[TurnInput] = []
        self._wake = asyncio.Event()
        self._is_closed = False
        self.is_over = False
        """True after `End` or `Cancel`: nothing is taken any more."""

    def audio(self, packet: bytes) -> None:
        """Take one Opus packet."""
        if self.is_over or len(self._waiting) >= MAX_WAITING:
            return
        self._batch.append(packet)
        if len(self._batch) >= BATCH:
            self._flush()

    def put(self, entry: TurnInput) -> None:
        """Take a change of state; the packets before it are written with it at once."""
        is_last = isinstance(entry, End | Cancel)
        if self.is_over or (len(self._waiting) >= MAX_WAITING and not is_last):
            return
        self._flush()
        self._waiting.append(entry)
        self.is_over = is_last
        self._wake.set()

    def cancel(self, entry: Cancel) -> None:
        """Tell the worker to stop, after `End`, too."""
        self._flush()
        self._waiting.append(entry)
        self.is_over = True
        self._wake.set()

    def result(self, entry: ToolResult) -> bool:
        """Take what the client's tool has answered, after `End`; False where nobody waits."""
        if self._is_closed or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(entry)
        self._wake.set()
        return True

    def _flush(self) -> None:
        if self._batch:
            self._waiting.append(UserAudio(packets=tuple(self._batch)))
            self._batch.clear()
            self._wake.set()

    def close(self) -> None:
        """Take nothing more; `write` ends when all that was taken is written."""
        self.is_over = True
        self._is_closed = True
        self._wake.set()

    async def write(self) -> None:
        """Write what is taken until `close`; entries wait while Redis is away, at most 5 s."""
        while not (self._is_closed and not self._waiting):
            await self._wake.wait()
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        self._wake.clear()
        entries = tuple(self._waiting)
        tries = 0
        while entries:
            try:
                await self._streams.write_input(self._turn_id, *entries)
            except RedisError as error:
                tries += 1
                if tries * RETRY_S >= GIVE_UP_S:
                    _log.warning("utterance not written", error=type(error).__name__)
                    self._waiting.clear()
                    return
                await asyncio.sleep(RETRY_S)
                continue
            del self._waiting[: len(entries)]
            entries = ()
