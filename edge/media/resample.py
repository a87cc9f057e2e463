"""Sample rate conversion of a mono stream, by way of libswresample."""

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray


class Resampler:
    """Turns a stream of mono 16-bit samples at `from_rate` into one at `to_rate`."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate <= 0 or to_rate <= 0:
            raise ValueError("sample rates are positive")
        self._from_rate = from_rate
        self._to_rate = to_rate
        self._same = from_rate == to_rate
        self._position = 0
        self._resampler = self._open()

    def push(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return what can be converted so far; a few milliseconds stay in the filter."""
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise ValueError("samples must be one-dimensional 16-bit integers")
        if self._same or not samples.size:
            return samples
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = self._from_rate
        frame.pts = self._position
        frame.time_base = Fraction(1, self._from_rate)
        self._position += samples.size
        return _join(self._resampler.resample(frame))

    def flush(self) -> NDArray[np.int16]:
        """Return what is left in the filter; the next `push` starts a new stream."""
        if self._same or not self._position:
            return np.empty(0, np.int16)
        rest = _join(self._resampler.resample(None))
        self._resampler = self._open()
        self._position = 0
        return rest

    def _open(self) -> av.AudioResampler:
        return av.AudioResampler(format="s16", layout="mono", rate=self._to_rate)


def _join(frames: list[av.AudioFrame]) -> NDArray[np.int16]:
    if not frames:
        return np.empty(0, np.int16)
    joined = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return joined.astype(np.int16, copy=False)
