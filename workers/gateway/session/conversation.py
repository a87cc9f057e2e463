"""Who speaks when: the gate's changes become turns, and the user may talk over the agent."""

import asyncio
import time
from collections import deque
from typing import Final

import structlog

from schemas.audio import PACKET_MS
from schemas.session_events import SessionError, SpeechStarted, SpeechStopped
from schemas.turn import End, Pause, Resume
from workers.gateway.session.additions import Additions
from workers.gateway.session.agent_in_force import AgentInForce
from workers.gateway.session.client_calls import ClientCalls
from workers.gateway.session.endpointing import Endpoint, EndpointRule
from workers.gateway.session.own_apology import OwnApology
from workers.gateway.session.playout import Playout
from workers.gateway.session.reply import Emit
from workers.gateway.session.turn import Kind, Reason, Record, Turn
from workers.gateway.session.turn_queue import TurnQueue
from workers.storage.sessions.conversation import Added, History
from workers.storage.turns.streams import TurnStreams

EARLY: Final = 500 // PACKET_MS
"""Packets kept that overtook the gate's opening on the data channel."""
EARLY_S: Final = 0.5
MAX_TURNS: Final = 4
"""Turns of a session under way at once: one heard, the others waiting or being written off."""
SETTLE_S: Final = 3.0
ADD_S: Final = 0.5
_log = structlog.get_logger(__name__)


class Conversation:
    """The turns of one session. Every method but `run` and `close` returns at once."""

    def __init__(
        self,
        *,
        session_id: str,
        agent: AgentInForce,
        rule: EndpointRule,
        streams: TurnStreams,
        queue: TurnQueue,
        history: History,
        playout: Playout,
        emit: Emit,
        record: Record,
        calls: ClientCalls,
        apology: OwnApology,
    ) -> None:
        self._session_id = session_id
        self._agent = agent
        self._rule = rule
        self._streams = streams
        self._queue = queue
        self._history = history
        self._playout = playout
        self._emit = emit
        self._record = record
        self._calls = calls
        self._apology = apology
        self._early: deque[tuple[float, bytes]] = deque(maxlen=EARLY)
        self._listening: Turn | None = None
        self._endpoint: Endpoint | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._interruption: asyncio.TimerHandle | None = None
        self._turns: dict[Turn, asyncio.Task[None]] = {}
        self._has_begun = False
        self._after: asyncio.Event | None = None
        """Set when all that the conversation holds so far is written down."""
        self._before_listening: asyncio.Event | None = None
        self._additions = Additions(session_id, history, emit, record)
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """True while the user speaks or a turn is not settled."""
        return bool(self._turns)

    def greet(self) -> None:
        """Let the agent speak first, if it has a greeting and nobody has spoken."""
        if self._agent.record.greeting and not self._has_begun:
            self._begin("greeting")

    def gate_opened(self) -> None:
        """Take in that the user speaks."""
        if self._endpoint is not None and self._listening is not None:
            if self._endpoint.is_paused:
                self._endpoint.opened()
                self._listening.utterance.put(Resume())
                self._pass_early()
                self._arm()
                self._interrupt_soon()
            return
        self._interrupt_soon()
        turn = self._begin("utterance")
        if turn is None:
            return
        self._listening = turn
        self._endpoint = Endpoint(self._rule.longest_s, time.monotonic())
        self._emit(SpeechStarted())
        self._pass_early()
        self._arm()

    def gate_closed(self, silence_ms: float) -> None:
        """Take in that the gate shut, so long after the last speech."""
        if self._endpoint is None or self._listening is None or self._endpoint.is_paused:
            return
        self._call_off_interruption()
        asked_for = self._agent.detection.min_silence
        ends_after_s = self._rule.silence_s if asked_for is None else asked_for / 1000
        self._endpoint.closed(time.monotonic(), silence_ms / 1000, ends_after_s)
        self._listening.utterance.put(Pause())
        self._arm()

    def packet(self, payload: bytes) -> None:
        """Take one Opus packet of the user's."""
        if self._listening is None or self._endpoint is None or self._endpoint.is_paused:
            self._early.append((time.monotonic(), payload))
        else:
            self._listening.utterance.audio(payload)

    def _pass_early(self) -> None:
        """Pass on what arrived before the gate's opening did."""
        since = time.monotonic() - EARLY_S
        for arrived, payload in self._early:
            if arrived >= since and self._listening is not None:
                self._listening.utterance.audio(payload)
        self._early.clear()

    def cancel_reply(self, reply_id: str | None) -> None:
        """Stop the reply that plays or is being made, if it is the one that is meant."""
        for turn in self._turns:
            if turn is not self._listening and reply_id in (None, turn.reply.reply_id):
                turn.stop("reply_cancelled")

    def create_reply(self, instructions: str | None) -> None:
        """Let the agent speak: now, or after what is being said; one such reply may wait."""
        if any(turn.is_waiting for turn in self._turns) or len(self._turns) >= MAX_TURNS - 1:
            text = "a reply was asked for already and has not begun"
            self._emit(SessionError(code="concurrency_exceeded", message=text))
            return
        self._begin("reply", instructions)

    def add(self, message: Added) -> None:
        """Add a message to the conversation: before what the user is saying, after a reply."""
        if self._is_closed:
            return
        if self._listening is None:
            self._after = self._additions.add(message, self._after) or self._after
        else:
            before = self._before_listening
            self._before_listening = self._additions.add(message, before) or before

    def _begin(self, kind: Kind, instructions: str | None = None) -> Turn | None:
        if self._is_closed or len(self._turns) >= MAX_TURNS:
            _log.warning("speech ignored: too many turns under way")
            return None
        turn = Turn(
            kind=kind,
            session_id=self._session_id,
            agent_id=self._agent.record.id,
            streams=self._streams,
            queue=self._queue,
            history=self._history,
            playout=self._playout,
            emit=self._emit,
            calls=self._calls,
            apology=self._apology,
            after=self._after,
            instructions=instructions,
            record=self._record,
        )
        self._has_begun = True
        self._agent.look_again()
        if kind == "utterance":
            self._before_listening = self._after
        self._after = turn.settled
        task = asyncio.get_running_loop().create_task(turn.run(), name=f"turn {turn.turn_id}")
        self._turns[turn] = task
        task.add_done_callback(lambda _: self._forget(turn))
        return turn

    def _forget(self, turn: Turn) -> None:
        task = self._turns.pop(turn)
        self._apology.look()
        if turn is self._listening:
            self._emit(SpeechStopped())
            self._stop_listening()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("turn crashed", exc_info=error)

    def _interrupt_soon(self) -> None:
        """Let speech stop what is said, at once or when it has lasted as long as the agent asks."""
        detection = self._agent.detection
        if not detection.interrupt_response:
            return
        if detection.interruption_delay and self._playout.is_playing:
            self._call_off_interruption()
            self._interruption = asyncio.get_running_loop().call_later(
                detection.interruption_delay / 1000, self._interrupt
            )
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        self._interruption = None
        for turn in self._turns:
            if turn is self._listening:  # those after it answer to what comes next
                return
            turn.stop("barge_in")

    def _call_off_interruption(self) -> None:
        if self._interruption is not None:
            self._interruption.cancel()
            self._interruption = None

    def _arm(self) -> None:
        """Set the timer to the next moment at which silence may have ended the turn."""
        if self._timer is not None:
            self._timer.cancel()
        if self._endpoint is None:
            return
        wait = max(0.0, self._endpoint.due() - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._endpoint_reached)

    def _endpoint_reached(self) -> None:
        self._timer = None
        endpoint, turn = self._endpoint, self._listening
        if endpoint is None or turn is None:
            return
        now = time.monotonic()
        if now < endpoint.due():
            self._arm()
            return
        silence = endpoint.silence_s(now)
        turn.utterance.put(End(silence_ms=silence * 1000))
        turn.reply.ended(silence)
        self._emit(SpeechStopped(silence_ms=silence * 1000))
        self._stop_listening()

    def _stop_listening(self) -> None:
        self._listening = None
        self._endpoint = None
        self._call_off_interruption()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self, reason: Reason = "session_ended") -> None:
        """Stop every turn and wait until it is written off, at most 3 s."""
        self._is_closed = True
        for turn in self._turns:
            turn.stop(reason)
        self._stop_listening()
        tasks = set(self._turns.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SETTLE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._additions.close(ADD_S)
