"""A microphone that hears recordings: in real time, and a room's faint noise around them."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.audio import CHUNK_SAMPLES

NOISE_PEAK: Final = 4
"""Noise of a quiet room: about -80 dBFS."""


class Room:
    """Gives 20 ms at a time of what was said in it, and noise while nothing is."""

    def __init__(self) -> None:
        self._said: deque[NDArray[np.int16]] = deque()
        self._noise = np.random.default_rng(0)

    @property
    def quiet(self) -> bool:
        """Whether all that was said has been heard."""
        return not self._said

    def say(self, speech: NDArray[np.int16]) -> None:
        """Let these 16 kHz mono samples be heard from now on."""
        padded = np.pad(speech, (0, -len(speech) % CHUNK_SAMPLES))
        self._said.extend(padded.reshape(-1, CHUNK_SAMPLES))

    def next_chunk(self) -> NDArray[np.int16]:
        """Return the next 320 samples."""
        if self._said:
            return self._said.popleft()
        return self._noise.integers(-NOISE_PEAK, NOISE_PEAK, CHUNK_SAMPLES, dtype=np.int16)
