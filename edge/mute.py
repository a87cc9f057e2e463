"""Barge-in at the device: which reply packets are still for the user's ears. Pure."""

from typing import Final

from schemas.session_events import AnyServerEvent, ReplyDone, ReplyStarted

PAUSE_S: Final = 0.4
"""A pause in the packets after which they belong to another reply.

A gateway that heard of the interruption stops at once, and the next reply needs an endpoint
first. It is the way out when the event on the data channel is held up by a lost packet.
"""


class Mute:
    """Silences the reply that the user spoke over, and lets the next one through."""

    def __init__(self) -> None:
        self._muted = False
        self._playing: str | None = None
        self._silenced: str | None = None
        self._old_is_done = False
        self._last_packet_at = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether the reply that comes in is not to be heard."""
        return self._muted

    def speech_began(self, now: float) -> bool:
        """Note that the user speaks; tell whether a reply was playing and is now silenced."""
        if self._muted or (self._playing is None and now - self._last_packet_at > PAUSE_S):
            return False
        self._muted = True
        self._silenced = self._playing
        self._old_is_done = False
        return True

    def event(self, event: AnyServerEvent) -> None:
        """Note what the gateway says about its replies."""
        match event:
            case ReplyStarted(reply_id=reply_id):
                self._playing = reply_id
                if reply_id != self._silenced:
                    self._muted = False
            case ReplyDone(reply_id=reply_id):
                if reply_id == self._playing:
                    self._playing = None
                self._old_is_done = True
            case _:
                pass

    def packet(self, now: float) -> bool:
        """Note a reply packet; tell whether it is to be played."""
        paused = now - self._last_packet_at > PAUSE_S
        self._last_packet_at = now
        if self._muted and (self._old_is_done or paused):
            self._muted = False
        return not self._muted
