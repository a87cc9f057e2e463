"""Brings speech to one loudness while it comes in. Pure: samples in, samples out."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

TARGET_RMS: Final = 1_000.0
"""Loudness of the voice that comes out, as the RMS of 16-bit samples: about -30 dBFS."""
FRAME: Final = 320
"""20 ms at 16 kHz."""
LEAD_FRAMES: Final = 25
"""Half a second is heard before the first of it goes on: pre-roll, and 200 ms of the voice."""
MEMORY_FRAMES: Final = 500
"""The level follows the last ten seconds."""
MAX_GAIN: Final = 20.0
"""26 dB: what is fainter than that is no voice worth making loud."""
_VOICE: Final = 0.01
"""Frames within 20 dB of the loudest are the voice; the others are the pauses in it."""


class SpeechLevel:
    """Makes soft speech louder and loud speech softer, 16 kHz mono; one for each segment."""

    def __init__(self) -> None:
        self._held: Samples = np.empty(0, np.int16)
        self._powers: deque[float] = deque(maxlen=MEMORY_FRAMES)
        self._lead: list[Samples] = []
        self._heard = 0

    def push(self, samples: Samples) -> Samples:
        """Return the speech whose level is known by now; nothing in the first half second."""
        self._held = np.concatenate((self._held, samples))
        whole = self._held.size - self._held.size % FRAME
        frames, self._held = self._held[:whole].reshape(-1, FRAME), self._held[whole:]
        return _joined([self._take(frame) for frame in frames])

    def finish(self) -> Samples:
        """Return what was still held."""
        lead, self._lead = self._lead, []
        # A frame that is not whole says too little to move the level.
        return self._levelled(_joined([*lead, self._held]))

    def _take(self, frame: Samples) -> Samples:
        self._powers.append(float(np.mean(np.square(frame, dtype=np.float64))))
        self._heard += 1
        if self._heard > LEAD_FRAMES:
            return self._levelled(frame)
        self._lead.append(frame)
        if self._heard < LEAD_FRAMES:
            return np.empty(0, np.int16)
        lead, self._lead = self._lead, []
        return self._levelled(_joined(lead))

    def _levelled(self, samples: Samples) -> Samples:
        powers = np.fromiter(self._powers, np.float64)
        loudest = powers.max(initial=0.0)
        if not loudest:
            return samples
        voice = float(np.sqrt(powers[powers >= loudest * _VOICE].mean()))
        louder = np.rint(samples * min(TARGET_RMS / voice, MAX_GAIN))
        levelled: Samples = np.clip(louder, -32_768, 32_767).astype(np.int16)
        return levelled


def _joined(pieces: list[Samples]) -> Samples:
    return np.concatenate((np.empty(0, np.int16), *pieces))
