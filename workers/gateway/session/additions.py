"""Messages that the client adds to the conversation, written where they belong in it."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog
from redis.exceptions import RedisError

from schemas.ids import new_id
from schemas.session_events import SessionError
from schemas.session_history import MessageEntry
from workers.gateway.session.reply import Emit
from workers.gateway.session.turn import Record
from workers.storage.sessions.conversation import Added, History

MAX_WAITING: Final = 32
"""Messages of a session that wait for a reply to be over; further ones are refused."""
WAIT_S: Final = 300.0
STORE_S: Final = 2.0
_log = structlog.get_logger(__name__)


class Additions:
    """Writes messages in the order in which they came, each after what it follows."""

    def __init__(self, session_id: str, history: History, emit: Emit, record: Record) -> None:
        self._session_id = session_id
        self._history = history
        self._emit = emit
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, message: Added, after: asyncio.Event | None) -> asyncio.Event | None:
        """Write a message once `after` is set; return what is set then, None if it is refused."""
        if len(self._tasks) >= MAX_WAITING:
            text = f"more than {MAX_WAITING} messages wait for the reply to be over"
            self._emit(SessionError(code="concurrency_exceeded", message=text))
            return None
        written = asyncio.Event()
        task = asyncio.get_running_loop().create_task(
            self._write(message, after, written), name=f"add a message to {self._session_id}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return written

    async def _write(
        self, message: Added, after: asyncio.Event | None, written: asyncio.Event
    ) -> None:
        try:
            if after is not None:
                async with asyncio.timeout(WAIT_S):
                    await after.wait()
            async with asyncio.timeout(STORE_S):
                await self._history.append(self._session_id, message)
            self._record(
                MessageEntry(
                    id=new_id("item"),
                    at=datetime.now(UTC),
                    role=message.role,
                    content=message.content,
                )
            )
        except (RedisError, TimeoutError) as error:
            _log.warning("message not added", error=type(error).__name__)
            text = "a message was not added to the conversation: the storage does not answer"
            self._emit(SessionError(code="internal_error", message=text))
        finally:
            written.set()

    async def close(self, within_s: float) -> None:
        """Write what can be written in this time, and drop the rest."""
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
