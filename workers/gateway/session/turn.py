"""One turn as the gateway sees it: the user's words out, the reply in, one history entry."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, Literal

import structlog
from redis.exceptions import RedisError

from schemas.ids import new_id
from schemas.session_history import MessageEntry, TurnEntry
from schemas.turn import Cancel, Done, Instruct, ToolAsked, TurnError, TurnTask
from workers.errors import EdgewiseError, StorageUnavailableError
from workers.gateway.session.apology import as_said
from workers.gateway.session.client_calls import ClientCalls
from workers.gateway.session.own_apology import OwnApology
from workers.gateway.session.playout import Playout
from workers.gateway.session.reply import Emit, Reply
from workers.gateway.session.supervisor import Supervisor
from workers.gateway.session.turn_entry import turn_entry
from workers.gateway.session.turn_queue import TurnQueue
from workers.gateway.session.utterance import Utterance
from workers.storage.sessions.conversation import Exchange, History
from workers.storage.turns.streams import TurnStreams

LONGEST_WAIT_S: Final = 300.0
"""How long a turn waits for what comes before it."""
STORE_S: Final = 2.0
Kind = Literal["utterance", "greeting", "reply"]
Record = Callable[[TurnEntry | MessageEntry], None]
"""Keeps an entry of the session's time line; returns at once."""
Reason = Literal["barge_in", "session_ended", "superseded", "reply_cancelled"]
_log = structlog.get_logger(__name__)


class Turn:
    """Runs one utterance, the greeting or a reply that was asked for, up to its history entry."""

    def __init__(
        self,
        *,
        kind: Kind,
        session_id: str,
        agent_id: str,
        streams: TurnStreams,
        queue: TurnQueue,
        history: History,
        playout: Playout,
        emit: Emit,
        calls: ClientCalls,
        apology: OwnApology,
        after: asyncio.Event | None = None,
        instructions: str | None = None,
        record: Record,
    ) -> None:
        self.turn_id = new_id("turn")
        self.utterance = Utterance(self.turn_id, streams)
        self.reply = Reply(emit, playout, is_asked_for=kind == "reply")
        if kind == "reply":
            self.utterance.put(Instruct(instructions=instructions))
        self.settled = asyncio.Event()
        """Set when nothing more comes of this turn and its history is written."""
        self._session_id = session_id
        self._history = history
        self._record = record
        self._began = datetime.now(UTC)
        self._calls = calls
        self._apology = apology
        self._after = after
        self._task = TurnTask(
            kind=kind,
            turn_id=self.turn_id,
            session_id=session_id,
            agent_id=agent_id,
            attempt=1,
            published_at=time.time(),
        )
        self._supervisor = Supervisor(streams, queue, self._task, self.reply.spoken)
        self._conversing: asyncio.Task[None] | None = None
        self._stopped: Reason | None = None

    @property
    def is_over(self) -> bool:
        """True when nothing more will be heard of it."""
        return self.reply.is_over

    @property
    def is_waiting(self) -> bool:
        """True while it is a reply that was asked for and nothing of it has sounded."""
        return self._task.kind == "reply" and not (self.reply.is_started or self.reply.is_over)

    def stop(self, reason: Reason) -> None:
        """End the turn now: silence, the events of an interrupted reply, `Cancel` to the worker."""
        if self.reply.is_over:
            return
        self._stopped = reason
        self.reply.finish("interrupted")
        self.utterance.cancel(Cancel(reason=reason))
        if self._conversing is not None:
            self._conversing.cancel()

    async def run(self) -> None:
        """Run the turn to its end; every failure becomes events and a log line."""
        structlog.contextvars.bind_contextvars(session_id=self._session_id, turn_id=self.turn_id)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.utterance.write(), name=f"write {self.turn_id}")
                if not self.reply.is_over:
                    self._conversing = group.create_task(
                        self._converse(), name=f"converse {self.turn_id}"
                    )
                    await asyncio.wait({self._conversing})
                self.utterance.close()
            await self._settle()
        finally:
            self.reply.finish("interrupted")
            self.settled.set()

    async def _converse(self) -> None:
        try:
            await self._wait_until_due()
            done = await self._follow()
        except EdgewiseError as error:
            await self._fail(error.code, str(error), retryable=error.retryable)
        except TimeoutError:
            await self._fail("unavailable", "the turn did not go through in time", retryable=True)
        except RedisError:
            await self._fail("unavailable", "the storage does not answer", retryable=True)
        except Exception:  # noqa: BLE001  # a turn's defect is the user's to hear, not the session's end
            _log.exception("turn failed")
            await self._fail("internal_error", "the turn failed", retryable=True)
        else:
            if done.status == "failed":
                self._apologise()
            await self.reply.played()
            self.reply.finish("failed" if done.status == "failed" else "completed")
            self.reply.report(done, self._supervisor.attempts)

    async def _fail(self, code: str, message: str, *, retryable: bool) -> None:
        """Say that the turn failed, as an event and aloud."""
        attempt = self._supervisor.attempts
        self.reply.fail(TurnError(attempt=attempt, code=code, message=message, retryable=retryable))
        self._apologise()
        await self.reply.played()
        self.reply.finish("failed")
        self.reply.report(None, attempt)

    def _apologise(self) -> None:
        """Say what the gateway holds ready, unless the worker has apologised."""
        if self.reply.has_apologised:
            return
        for entry in as_said(self._apology.current):
            self.reply.take(entry)

    async def _wait_until_due(self) -> None:
        """Wait until what comes before this turn in the conversation is written down."""
        if self._after is not None:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._after.wait()
            self._after = None
        if self._task.kind == "reply":
            self._began = datetime.now(UTC)

    async def _follow(self) -> Done:
        async with aclosing(self._supervisor.replies()) as entries:
            async for entry in entries:
                self.reply.take(entry)
                if isinstance(entry, ToolAsked):
                    self._calls.ask(entry, self.utterance.result)
                if isinstance(entry, Done):
                    return entry
                # A further attempt does not know how much of the one before is still to be heard.
                await self.reply.room()
        raise StorageUnavailableError("the reply stream ended without its last entry")

    async def _settle(self) -> None:
        """Write what is still to be said to the worker, and the turn's line of the history."""
        self._after = None
        exchange = Exchange(
            turn_id=self.turn_id,
            user=self.reply.user_text,
            agent=self.reply.answer,
            interrupted=self._stopped is not None and self.reply.is_started,
        )
        try:
            async with asyncio.timeout(STORE_S):
                if exchange.user or exchange.agent:
                    await self._history.append(self._session_id, exchange)
        except (RedisError, TimeoutError) as error:
            _log.warning("turn not written to history", error=type(error).__name__)
        entry = turn_entry(self._task, self._began, self.reply, self._supervisor.attempts)
        if entry is not None:
            self._record(entry)
        _log.info(
            "turn over",
            attempts=self._supervisor.attempts,
            stopped=self._stopped,
            heard_characters=len(exchange.agent),
        )
