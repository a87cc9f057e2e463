"""Where speech begins and ends: the client's word for it if it gates itself, else our gate's."""

import asyncio
from collections.abc import Callable
from typing import Final

from edge.media.receive_buffer import Received
from schemas.audio import PACKET_MS
from workers.gateway.session.local_gate import LocalGate

GAP_S: Final = 0.1
"""A peer that sends nothing for this long while our gate is open is taken to be silent."""


class SpeechInput:
    """Turns packets and gate events of either kind of client into the same three calls."""

    def __init__(
        self,
        *,
        threshold: Callable[[], float],
        opened: Callable[[], None],
        closed: Callable[[float], None],
        passed: Callable[[bytes], None],
    ) -> None:
        self._threshold = threshold
        self._opened = opened
        self._closed = closed
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._gate: LocalGate | None = None
        self._heard_until = 0.0
        self._gap: asyncio.TimerHandle | None = None
        self.client_gates = False
        """True once the client has said a word about its gate."""

    def client_opened(self) -> None:
        """Take in that the client's gate opened."""
        self._trust_client()
        self._opened()

    def client_closed(self, silence_ms: float) -> None:
        """Take in that the client's gate shut, or that it starts shut."""
        self._trust_client()
        self._closed(silence_ms)

    def packet(self, packet: Received) -> None:
        """Take one Opus packet, in order."""
        if self.client_gates:
            self._passed(packet.payload)
            return
        if self._gate is None:
            self._gate = LocalGate(
                threshold=self._threshold,
                opened=self._opened,
                closed=self._closed,
                passed=self._passed,
            )
        self._gate.packet(packet.payload, packet.ticks)
        self._heard_until = self._loop.time()
        self._watch_for_gap()

    def close(self) -> None:
        """Stop listening."""
        self._gate = None
        if self._gap is not None:
            self._gap.cancel()
            self._gap = None

    def _trust_client(self) -> None:
        if not self.client_gates:
            self.client_gates = True
            self.close()

    def _watch_for_gap(self) -> None:
        if self._gap is None and self._gate is not None and self._gate.is_open:
            self._gap = self._loop.call_later(GAP_S, self._fill_gap)

    def _fill_gap(self) -> None:
        self._gap = None
        if self._gate is None:
            return
        missing = int((self._loop.time() - self._heard_until) * 1000) // PACKET_MS
        if missing * PACKET_MS >= GAP_S * 1000:
            self._gate.silence(missing)
            self._heard_until += missing * PACKET_MS / 1000
        self._watch_for_gap()
