"""Short tones that say how the device is: falling when it goes offline, rising when it is back."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.settings import REPLY_RATE

TONE_S: Final = 0.09
LOUDNESS: Final = 0.12
LOW, HIGH = 440.0, 660.0


def offline() -> NDArray[np.int16]:
    """Return a falling pair of tones, 16-bit mono at 48 kHz."""
    return np.concatenate((_tone(HIGH), _tone(LOW)))


def online() -> NDArray[np.int16]:
    """Return a rising pair of tones, 16-bit mono at 48 kHz."""
    return np.concatenate((_tone(LOW), _tone(HIGH)))


def _tone(hertz: float) -> NDArray[np.int16]:
    times = np.arange(int(TONE_S * REPLY_RATE)) / REPLY_RATE
    shape = np.sin(np.pi * times / TONE_S)  # swells and fades, so that nothing clicks
    wave = np.sin(2 * np.pi * hertz * times) * shape * LOUDNESS
    return np.asarray(wave * np.iinfo(np.int16).max, dtype=np.int16)
