"""The agent's side of a turn: entries of the reply stream become events and sound, in order."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from schemas.ids import new_id
from schemas.session_events import (
    AgentTranscript,
    AgentTranscriptDelta,
    AnyServerEvent,
    ReplyDone,
    ReplyError,
    ReplyMetrics,
    ReplyStarted,
    UserTranscript,
    UserTranscriptDelta,
)
from schemas.turn import (
    Asked,
    Done,
    Measured,
    ReplyAudio,
    ReplyText,
    Spoken,
    Transcript,
    TurnError,
    TurnMetrics,
    TurnReply,
)
from workers.gateway.session.heard import SpokenLog
from workers.gateway.session.playout import Playout

MAX_ASKED: Final = 32
"""Requests to the model that are remembered of a turn, rounds of tools and attempts together."""
Emit = Callable[[AnyServerEvent], None]
Status = Literal["completed", "interrupted", "failed"]


class Reply:
    """What the workers said in one turn and what became of it."""

    def __init__(self, emit: Emit, playout: Playout, *, is_asked_for: bool = False) -> None:
        self.reply_id = new_id("reply")
        self.user_text = ""
        self.is_started = False
        self.is_over = False
        self.ended_at: float | None = None
        """When the endpoint was decided, on the monotonic clock; None before and for greetings."""
        self.silence_s = 0.0
        self._is_asked_for = is_asked_for
        self._emit = emit
        self._playout = playout
        self._user_item = new_id("item")
        self._agent_item = new_id("item")
        self._log = SpokenLog()
        self._has_final = False
        self._first_audio_at: float | None = None
        self.status: Status = "interrupted"
        """How it ended, once it is over."""
        self.asked: deque[Asked] = deque(maxlen=MAX_ASKED)
        self.errors: list[TurnError] = []
        self.has_apologised = False
        """True once an attempt that had failed was heard to say so."""
        self._failed_attempt: int | None = None
        self._known = TurnMetrics()
        self._heard: str | None = None
        self._answer: str | None = None

    @property
    def heard(self) -> str:
        """The words that were heard until now, or until the reply was over."""
        if self._heard is not None:
            return self._heard
        return self._log.heard(self._playout.played) if self.is_started else ""

    @property
    def answer(self) -> str:
        """The same without fillers and apologies: the model would learn to say them."""
        if self._answer is not None:
            return self._answer
        played = self._playout.played
        return self._log.heard(played, with_asides=False) if self.is_started else ""

    def spoken(self) -> tuple[Spoken, ...]:
        """Return what a further attempt must not say again."""
        return self._log.spoken()

    def ended(self, silence_s: float) -> None:
        """Take in that the user is done: from now on a transcript may be final."""
        self.ended_at = time.monotonic()
        self.silence_s = silence_s

    def take(self, entry: TurnReply) -> None:
        """Take in an entry of the attempt that counts."""
        match entry:
            case Transcript():
                self._take_transcript(entry)
            case ReplyText():
                self._log.take_text(entry)
            case ReplyAudio():
                self._take_audio(entry)
            case Asked():
                self.asked.append(entry)
            case Measured():
                self._known = entry.metrics
            case TurnError():
                self._failed_attempt = entry.attempt
                self.fail(entry)
            case Done(status="ignored"):
                self._take_nothing()
            case _:
                pass

    def _take_nothing(self) -> None:
        """Tell the client that nothing was understood, so that it does not wait for a reply."""
        if not self._has_final and self.ended_at is not None:
            self._has_final = True
            self.user_text = ""
            self._emit(UserTranscript(item_id=self._user_item, text=""))

    def _take_transcript(self, entry: Transcript) -> None:
        if self._has_final:
            return
        if entry.final and self.ended_at is not None:
            self._has_final = True
            self.user_text = entry.text
            if entry.text:
                self._emit(UserTranscript(item_id=self._user_item, text=entry.text))
        elif entry.text and entry.text != self.user_text:
            self.user_text = entry.text
            self._emit(UserTranscriptDelta(item_id=self._user_item, text=entry.text))

    def _take_audio(self, entry: ReplyAudio) -> None:
        packets, delta = self._log.take_audio(entry)
        if packets:
            self._start()
            if self._first_audio_at is None:
                self._first_audio_at = time.monotonic()
            # A filler of the attempt after it is no apology.
            if entry.attempt == self._failed_attempt and self._log.is_aside(entry.sentence):
                self.has_apologised = True
        if delta is not None:
            self._emit(
                AgentTranscriptDelta(
                    reply_id=self.reply_id,
                    item_id=self._agent_item,
                    delta=delta.text,
                    start_ms=delta.start_ms,
                    end_ms=delta.end_ms,
                )
            )
        self._playout.push(packets)

    def _start(self) -> None:
        if not self.is_started:
            self.is_started = True
            self._playout.begin()
            self._emit(ReplyStarted(reply_id=self.reply_id, item_id=self._agent_item))

    def fail(self, error: TurnError) -> None:
        """Say that the reply failed, once; a spoken line may still follow."""
        if self.errors:
            return
        self._start()
        self.errors.append(error)
        self._emit(
            ReplyError(
                reply_id=self.reply_id,
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                status_code=error.status_code,
            )
        )

    async def room(self) -> None:
        """Wait until more of it can be taken."""
        await self._playout.room()

    async def played(self) -> None:
        """Wait until everything that was accepted has sounded."""
        await self._playout.silent()

    def finish(self, status: Status) -> None:
        """End the reply, now: what was not heard is dropped. Nothing happens a second time."""
        if self.is_over:
            return
        self.is_over = True
        self._heard, self._answer = self.heard, self.answer
        self.status = "failed" if self.errors and status == "completed" else status
        if not self.is_started:
            if self._is_asked_for:  # who asked must not wait for it
                self._emit(ReplyDone(reply_id=self.reply_id, status=self.status))
            return
        self._playout.drop()
        self._emit(
            AgentTranscript(
                reply_id=self.reply_id,
                item_id=self._agent_item,
                text=self._heard,
                interrupted=self.status == "interrupted",
            )
        )
        self._emit(ReplyDone(reply_id=self.reply_id, status=self.status))

    def report(self, done: Done | None, attempts: int) -> None:
        """Say who answered, after how many attempts of workers and models, and where time went."""
        if done is not None:
            self._known = done.metrics
        if self.is_started:
            self._emit(self.measured(attempts))

    def measured(self, attempts: int) -> ReplyMetrics:
        """Return what is known of who answered, after how many attempts, and of the times."""
        timings = self._known.model_dump()
        attempts += max(0, timings.pop("tries") - 1)
        if self.ended_at is not None:
            timings["endpoint_ms"] = round(self.silence_s * 1000, 1)
            if self._first_audio_at is not None:
                to_audio_s = self._first_audio_at - self.ended_at
                timings["endpoint_to_audio_ms"] = round(to_audio_s * 1000, 1)
        return ReplyMetrics(reply_id=self.reply_id, attempts=attempts, **timings)
