"""What was said, turn by turn, put together from the session's events. Pure: no clock.

Times are seconds on the caller's clock. A turn begins when the user speaks; what the gateway
says of a reply belongs to the turn in which that reply started.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas import session_events as events


@dataclass(slots=True)
class Reply:
    """One reply of the agent, as far as it has come."""

    text: str = ""
    spoken: str | None = None
    status: str | None = None
    error: tuple[str, str] | None = None
    metrics: events.ReplyMetrics | None = None
    done_at: float | None = None

    @property
    def words(self) -> str:
        """What was heard of it; while it plays, what has been said so far."""
        return (self.text if self.spoken is None else self.spoken).strip()


@dataclass(slots=True)
class Turn:
    """One utterance and its replies; the greeting is a turn without an utterance."""

    number: int
    heard: dict[str, str] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    speech_began_at: float | None = None
    speech_ended_at: float | None = None
    endpoint_at: float | None = None
    first_packet_at: float | None = None
    silence_after_s: float | None = None
    first_heard_at: float | None = None
    heard_frames: int = 0
    awaits_reply: bool = False

    @property
    def transcript(self) -> str:
        """What the user said, as far as it is known."""
        return " ".join(text for text in self.heard.values() if text)

    @property
    def reply_text(self) -> str:
        """What the agent said, as far as it was heard."""
        return " ".join(reply.words for reply in self.replies.values() if reply.words)

    @property
    def last_reply(self) -> Reply | None:
        """The reply that counts: the one that started last."""
        return next(reversed(self.replies.values()), None)

    @property
    def is_over(self) -> bool:
        """Whether all that was said has been answered and no reply is under way."""
        done = all(reply.status for reply in self.replies.values())
        return bool(self.replies) and done and not self.awaits_reply

    @property
    def was_interrupted(self) -> bool:
        """Whether its last reply was cut by the user."""
        return self.last_reply is not None and self.last_reply.status == "interrupted"

    @property
    def was_ignored(self) -> bool:
        """Whether the gateway is done with an utterance in which it understood nothing."""
        return bool(self.heard) and not self.transcript and not self.replies


class Conversation:
    """Sorts events, gate movements and packets into turns."""

    def __init__(self, on_turn: Callable[[Turn], None] = lambda _turn: None) -> None:
        self._on_turn = on_turn
        self._owner: dict[str, Turn] = {}
        self._speaking: Turn | None = None
        self._gate_open = False
        self.last_sign_at = float("-inf")
        self.ready: events.SessionReady | None = None
        self.turn = Turn(number=0)

    def begin_turn(self) -> Turn:
        """Start the next turn; the user's words and replies that start now belong to it."""
        self.turn = Turn(number=self.turn.number + 1)
        self._on_turn(self.turn)
        return self.turn

    @property
    def gate_open(self) -> bool:
        """Whether the user is speaking."""
        return self._gate_open

    def gate_opened(self, now: float, speech_began: float) -> None:
        """Note that speech was heard from `speech_began` on."""
        self._gate_open = True
        self.last_sign_at = now
        turn = self.turn
        turn.awaits_reply = True
        if turn.speech_began_at is None or turn.replies:
            turn.speech_began_at = speech_began
            turn.speech_ended_at = turn.endpoint_at = turn.first_packet_at = None

    def gate_closed(self, now: float, speech_ended: float) -> None:
        """Note that speech ended at `speech_ended`."""
        self._gate_open = False
        self.last_sign_at = now
        if self.turn.first_packet_at is None:
            self.turn.speech_ended_at = speech_ended

    def packet(self, now: float) -> None:
        """Note a reply packet that will be heard."""
        self.last_sign_at = now
        if self.turn.first_packet_at is None and (self.turn.replies or not self._reply_plays()):
            self.turn.first_packet_at = now

    def heard(self, frames: int, now: float) -> None:
        """Note that 20 ms frames of a reply came out of the speaker."""
        turn = self._speaking or self.turn
        turn.heard_frames += frames
        if turn.first_heard_at is None:
            turn.first_heard_at = now

    @property
    def speaking(self) -> Turn | None:
        """The turn whose reply started last."""
        return self._speaking

    def event(self, event: events.AnyServerEvent, now: float) -> None:
        """Note what the gateway says."""
        self.last_sign_at = now
        match event:
            case events.SessionReady():
                self.ready = event
            case events.SpeechStopped():
                self.turn.endpoint_at = now
            case events.UserTranscriptDelta() | events.UserTranscript():
                self.turn.heard[event.item_id] = event.text.strip()
            case events.ReplyStarted():
                self.turn.replies[event.reply_id] = Reply()
                self.turn.awaits_reply = False
                self._owner[event.reply_id] = self._speaking = self.turn
            case _:
                self._of_reply(event, now)

    def _of_reply(self, event: events.AnyServerEvent, now: float) -> None:
        reply_id = getattr(event, "reply_id", None)
        if reply_id is None:
            return
        owner = self._owner.setdefault(reply_id, self.turn)
        reply = owner.replies.setdefault(reply_id, Reply())
        match event:
            case events.AgentTranscriptDelta(delta=delta):
                reply.text += delta
            case events.AgentTranscript(text=text):
                reply.spoken = text
            case events.ReplyError(code=code, message=message):
                reply.error = (code, message)
            case events.ReplyDone(status=status):
                reply.status, reply.done_at = status, now
            case events.ReplyMetrics():
                reply.metrics = event
            case _:
                pass

    def _reply_plays(self) -> bool:
        return any(
            not reply.status
            for owner in self._owner.values()
            if owner is not self.turn
            for reply in owner.replies.values()
        )
