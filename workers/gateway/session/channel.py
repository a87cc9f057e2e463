"""The data channel `events`: JSON texts out, checked events in, bounded both ways."""

from collections.abc import Callable
from typing import Final

import structlog
from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from schemas.session_events import (
    AnyServerEvent,
    ClientEvent,
    SessionError,
    read_client_event,
    write_event,
)

MAX_UNSENT: Final = 256_000
"""Bytes that wait for a client that does not read; then events are dropped."""
MAX_BAD: Final = 50
"""Events that a client may get wrong before it is no longer answered."""
_log = structlog.get_logger(__name__)


class EventChannel:
    """Speaks to the client if it opened a channel, else into the void."""

    def __init__(self, on_event: Callable[[ClientEvent], None]) -> None:
        self._on_event = on_event
        self._channel: RTCDataChannel | None = None
        self._bad = 0
        self._dropped = 0

    @property
    def is_open(self) -> bool:
        """True once the client's channel is there."""
        return self._channel is not None

    def attach(self, channel: RTCDataChannel) -> None:
        """Use this channel from now on."""
        self._channel = channel
        channel.on("message", self._on_message)

    def send(self, event: AnyServerEvent) -> None:
        """Send an event, or drop it where nobody reads."""
        channel = self._channel
        if channel is None:
            return
        if channel.bufferedAmount > MAX_UNSENT:
            self._dropped += 1
            if self._dropped == 1:
                _log.warning("client does not read its events")
            return
        try:
            channel.send(write_event(event))
        except (InvalidStateError, ConnectionError):
            self._channel = None

    def _on_message(self, message: str | bytes) -> None:
        try:
            event = read_client_event(message)
        except ValueError as error:
            self._bad += 1
            if self._bad <= MAX_BAD:
                self.send(SessionError(code="invalid_format", message=str(error)))
            return
        self._on_event(event)
