"""Gates a peer that does not gate itself, such as a browser: the device's gate, run here."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.media.detector import LAG_MS, SpeechDetector
from edge.media.gate import Gate, GateClosed, GateOpened, Passed
from edge.media.opus import OpusDecoder
from schemas.audio import CHUNK_SAMPLES, PACKET_TICKS

MAX_GAP_CHUNKS: Final = 25
"""Longest gap that is filled with silence, 500 ms: long enough to shut the gate."""

Packets = tuple[bytes, ...]


class LocalGate:
    """Decodes a peer's packets only to know when it speaks; the packets pass as they came."""

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
        self._decoder = OpusDecoder()
        self._detector = SpeechDetector(threshold())
        self._gate: Gate[Packets] = Gate(detector_lag_ms=LAG_MS)
        self._samples: NDArray[np.int16] = np.empty(0, np.int16)
        self._packets: list[bytes] = []
        self._next_ticks: int | None = None

    @property
    def is_open(self) -> bool:
        """True while the peer speaks."""
        return self._gate.is_open

    def packet(self, payload: bytes, ticks: int) -> None:
        """Take one Opus packet; one that is no Opus counts as a lost one."""
        if self._next_ticks is not None and ticks > self._next_ticks:
            self.silence((ticks - self._next_ticks) // PACKET_TICKS)
        try:
            samples = self._decoder.decode(payload)
        except ValueError:
            self._next_ticks = ticks
            return
        self._next_ticks = ticks + samples.size * PACKET_TICKS // CHUNK_SAMPLES
        self._packets.append(payload)
        self._samples = np.concatenate((self._samples, samples))
        while self._samples.size >= CHUNK_SAMPLES:
            chunk, self._samples = np.split(self._samples, [CHUNK_SAMPLES])
            self._push(self._detector.is_speech(chunk))

    def silence(self, chunks: int) -> None:
        """Take in that nothing came for so many times 20 ms."""
        if self._next_ticks is not None:
            self._next_ticks += chunks * PACKET_TICKS
        for _ in range(min(chunks, MAX_GAP_CHUNKS)):
            self._push(speech=False)

    def _push(self, speech: bool) -> None:  # noqa: FBT001  # the detector's verdict
        packets = tuple(self._packets)
        self._packets.clear()
        for event in self._gate.push(packets, speech=speech):
            match event:
                case GateOpened():
                    self._opened()
                case GateClosed(silence_ms):
                    self._closed(silence_ms)
                case Passed(item):
                    for payload in item:
                        self._passed(payload)
        if not speech and not self._gate.is_open:  # an utterance is judged by one threshold
            self._detector.judge_by(self._threshold())
