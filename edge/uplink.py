"""From the microphone to the network: chunk → detector → gate → Opus → RTP, gate → events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.media.detector import LAG_MS
from edge.media.gate import Gate, GateClosed, GateOpened, Passed
from schemas import session_events
from schemas.audio import PACKET_TICKS

Chunk: TypeAlias = NDArray[np.int16]


class Detector(Protocol):
    """Tells speech from everything else, 20 ms at a time."""

    def is_speech(self, chunk: Chunk) -> bool:
        """Tell whether these 320 samples at 16 kHz are speech."""
        ...


class Encoder(Protocol):
    """Makes 20 ms Opus packets of 16 kHz mono samples."""

    def encode(self, samples: Chunk) -> list[bytes]:
        """Return the packets that are whole now."""
        ...


@dataclass(slots=True)
class GateCount:
    """What the gate did since the count began."""

    opened: int = 0
    packets_sent: int = 0
    chunks: int = 0

    @property
    def duty(self) -> float:
        """Share of the chunks that were sent, 0 to 1."""
        return self.packets_sent / self.chunks if self.chunks else 0.0


@dataclass(slots=True)
class Uplink:
    """Sends what is speech, and says when speech begins and ends.

    `on_opened(now, speech_began)` and `on_closed(now, speech_ended)` get times on the clock of
    the `now` given to `push`, in seconds. The event goes out before the first packet.
    """

    detector: Detector
    encoder: Encoder
    send_packet: Callable[[bytes, int], None]
    send_event: Callable[[session_events.ClientEvent], None]
    on_opened: Callable[[float, float], None]
    on_closed: Callable[[float, float], None]
    gate: Gate[Chunk] = field(default_factory=lambda: Gate[Chunk](detector_lag_ms=LAG_MS))
    count: GateCount = field(default_factory=GateCount)
    _run_began: float | None = None

    def push(self, chunk: Chunk, now: float) -> None:
        """Take the 320 samples that ended at `now`; sends, never waits."""
        speech = self.detector.is_speech(chunk)
        if not speech and not self.gate.is_open:
            self._run_began = None
        elif self._run_began is None:
            self._run_began = now - 0.02
        self.count.chunks += 1
        for out in self.gate.push(chunk, speech=speech):
            self._pass_on(out, now)

    def _pass_on(self, out: GateOpened | GateClosed | Passed[Chunk], now: float) -> None:
        match out:
            case GateOpened():
                self.count.opened += 1
                self.send_event(session_events.GateOpened())
                began = self._run_began
                self.on_opened(now, now if began is None else began)
            case GateClosed(silence_ms=silence_ms):
                self._run_began = None
                self.send_event(session_events.GateClosed(silence_ms=silence_ms))
                self.on_closed(now, now - silence_ms / 1000)
            case Passed(item=samples, index=index):
                for packet in self.encoder.encode(samples):
                    self.count.packets_sent += 1
                    self.send_packet(packet, index * PACKET_TICKS)
