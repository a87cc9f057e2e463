"""One session as the device lives it: what it says, what it hears, and when it falls silent."""

import time
from typing import Any

from edge.conversation import Conversation
from edge.media.detector import SpeechDetector
from edge.media.opus import OpusEncoder
from edge.mute import Mute
from edge.peer import Peer
from edge.reply_line import ReplyLine
from edge.report import timings_ms
from edge.settings import DeviceSettings
from edge.tools import DeviceTools
from edge.uplink import Uplink
from edge.view import View
from schemas import session_events as events


class Call:
    """Ties uplink, reply line, mute and conversation together; all on the event loop."""

    def __init__(
        self,
        settings: DeviceSettings,
        line: ReplyLine,
        view: View,
        tools: DeviceTools,
        *,
        turn_per_utterance: bool,
    ) -> None:
        self._settings = settings
        self._line = line
        self._view = view
        self._tools = tools
        self._peer: Peer | None = None
        self._turn_per_utterance = turn_per_utterance
        self._mute = Mute()
        self._interrupts_after_s: float | None = 0.0
        self._interruption: tuple[float, float] | None = None
        """When the reply is to fall silent, and when the speech over it began."""
        self._frames_told = line.heard.frames
        self.conversation = Conversation()

    def uplink(self, peer: Peer) -> Uplink:
        """Return the way from the microphone to this peer."""
        self._peer = peer
        return Uplink(
            detector=SpeechDetector(self._settings.vad_threshold),
            encoder=OpusEncoder(),
            send_packet=peer.send_packet,
            send_event=peer.send_event,
            on_opened=self._on_opened,
            on_closed=self._on_closed,
        )

    def tick(self, now: float) -> None:
        """Take notice of what has come out of the speaker; called every 20 ms."""
        if self._interruption is not None and now >= self._interruption[0]:
            self._interrupt(now, self._interruption[1])
        frames = self._line.heard.frames
        if frames != self._frames_told:
            self.conversation.heard(frames - self._frames_told, now)
            self._frames_told = frames

    def on_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """Play a reply packet, unless the user has spoken over it."""
        now = time.monotonic()
        if self._mute.packet(now):
            self._line.packet(sequence, timestamp, payload)
            self.conversation.packet(now)

    def on_event(self, event: events.AnyServerEvent) -> None:
        """Take in what the gateway says."""
        if isinstance(event, events.SessionReady | events.SessionUpdated):
            self._interrupts_after_s = interrupts_after_s(event.config)
        self._mute.event(event)
        self.conversation.event(event, time.monotonic())
        self._view.event(event)
        if isinstance(event, events.ToolCall) and self._peer is not None:
            self._tools.call(event, self._peer.send_event)
        if self._turn_per_utterance and isinstance(event, events.ReplyMetrics):
            self._show_times(event)

    def _show_times(self, event: events.ReplyMetrics) -> None:
        turn = self.conversation.turn
        if turn.last_reply is not None and turn.last_reply.metrics is event:
            self._view.turn(timings_ms(turn, turn.last_reply.done_at), None)

    def on_degraded(self, *, degraded: bool) -> None:
        """Show that the server is not heard, or heard again."""
        self._view.note(
            "no sign of the server for a while" if degraded else "the server is heard again"
        )

    def _on_opened(self, now: float, speech_began: float) -> None:
        if self._interrupts_after_s:
            self._interruption = now + self._interrupts_after_s, speech_began
        elif self._interrupts_after_s is not None:
            self._interrupt(now, speech_began)
        turn = self.conversation.turn
        if self._turn_per_utterance and (turn.number == 0 or turn.replies):
            self.conversation.begin_turn()
        self.conversation.gate_opened(now, speech_began)
        self._view.gate(is_open=True)

    def _interrupt(self, now: float, speech_began: float) -> None:
        """Let a reply that plays fall silent, and note how long the user had to speak over it."""
        self._interruption = None
        if not self._mute.speech_began(now):
            return
        self._line.fall_silent()
        if (turn := self.conversation.speaking) is not None:
            last_sound = self._line.heard.last_sound_at
            turn.silence_after_s = max(0.0, last_sound - speech_began)

    def _on_closed(self, now: float, speech_ended: float) -> None:
        self._interruption = None
        self.conversation.gate_closed(now, speech_ended)
        self._view.gate(is_open=False)


def interrupts_after_s(config: dict[str, Any]) -> float | None:
    """Return how long the user must speak over a reply to stop it, in seconds; None: he cannot."""
    found: object = config
    for key in ("input", "turn_detection"):
        found = found.get(key) if isinstance(found, dict) else None
    detection = found if isinstance(found, dict) else {}
    if detection.get("interrupt_response") is False:
        return None
    delay_ms = detection.get("interruption_delay")
    return delay_ms / 1000 if isinstance(delay_ms, int) else 0.0
