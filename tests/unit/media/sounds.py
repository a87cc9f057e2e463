"""What the detector is held to: people's recordings, and rooms that hum, blow and play."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.media.detector import SpeechDetector
from edge.media.gate import Gate, GateClosed, GateOpened, Passed
from edge.media.resample import Resampler
from schemas.audio import CHUNK_SAMPLES, SPEECH_RATE

Samples = NDArray[np.int16]
Events = list[GateOpened | GateClosed | Passed[Samples]]

POCKETSPHINX = Path("/usr/share/pocketsphinx/test/data")
ALSA = Path("/usr/share/sounds/alsa")
LIGHT_NOISE_DBFS = -62.0
FAN_AND_HUM_DBFS = -30.0


def recordings() -> list[Path]:
    """Every recording of a person in Debian's pocketsphinx-testdata and alsa-utils."""
    paths = [*POCKETSPHINX.rglob("*.wav"), *POCKETSPHINX.rglob("*.raw"), *ALSA.glob("*.wav")]
    found = sorted(path for path in paths if path.name != "Noise.wav")
    assert len(found) >= 18, "install pocketsphinx-testdata and alsa-utils"
    return found


def load(path: Path) -> Samples:
    """A recording as 16 kHz mono, in whole 20 ms chunks."""
    if path.suffix == ".raw":
        samples, rate = np.frombuffer(path.read_bytes(), "<i2"), SPEECH_RATE
    else:
        with wave.open(str(path)) as file:
            assert file.getsampwidth() == 2
            rate = file.getframerate()
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            samples = frames.reshape(-1, file.getnchannels())[:, 0].copy()
    resampler = Resampler(rate, SPEECH_RATE)
    converted = np.concatenate((resampler.push(samples.astype(np.int16)), resampler.flush()))
    return pad(converted)


def pad(samples: Samples) -> Samples:
    return np.concatenate((samples, np.zeros(-samples.size % CHUNK_SAMPLES, np.int16)))


def at_level(wave_form: NDArray[np.float64], dbfs: float) -> NDArray[np.float64]:
    """The same sound with an RMS of `dbfs` relative to full scale."""
    rms = float(np.sqrt(np.mean(wave_form**2)))
    return wave_form / rms * 32_768 * 10 ** (dbfs / 20)


def to_samples(wave_form: NDArray[np.float64]) -> Samples:
    return np.clip(np.rint(wave_form), -32_768, 32_767).astype(np.int16)


def noise(seconds: float, dbfs: float, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    return pad(to_samples(at_level(rng.standard_normal(int(seconds * SPEECH_RATE)), dbfs)))


def hum(seconds: float, dbfs: float, seed: int = 1) -> Samples:
    """Mains hum: 50 Hz and its harmonics, a little unsteady, over a noise floor."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SPEECH_RATE)) / SPEECH_RATE
    strengths = [1.0, 0.6, 0.5, 0.3, 0.3, 0.2, 0.2, 0.1]
    wave_form = np.zeros(time.size)
    for number, strength in enumerate(strengths, start=1):
        wobble = 1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * time)
        phase = rng.uniform(0, 2 * np.pi)
        wave_form += strength * wobble * np.sin(2 * np.pi * 50 * number * time + phase)
    return pad(to_samples(at_level(wave_form + 0.02 * rng.standard_normal(time.size), dbfs)))


def fan(seconds: float, dbfs: float, seed: int = 2) -> Samples:
    """A fan: noise that falls with frequency, with a blade tone, slowly breathing."""
    rng = np.random.default_rng(seed)
    size = int(seconds * SPEECH_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / SPEECH_RATE)
    air = np.fft.irfft(spectrum / np.maximum(frequency, 80.0) ** 0.5, size)
    air /= np.std(air)
    time = np.arange(size) / SPEECH_RATE
    breath = 1 + 0.2 * np.sin(2 * np.pi * 0.13 * time)
    blades = 0.3 * np.sin(2 * np.pi * 117 * time)
    return pad(to_samples(at_level(air * breath + blades, dbfs)))


def chord(seconds: float, dbfs: float, seed: int = 3) -> Samples:
    """A sustained chord of an organ: A major over two octaves, each note with overtones."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SPEECH_RATE)) / SPEECH_RATE
    wave_form = np.zeros(time.size)
    for note in (220.0, 277.18, 329.63, 440.0):
        for overtone in range(1, 6):
            phase = rng.uniform(0, 2 * np.pi)
            wave_form += np.sin(2 * np.pi * note * overtone * time + phase) / overtone
    tremolo = 1 + 0.05 * np.sin(2 * np.pi * 5.5 * time)
    return pad(to_samples(at_level(wave_form * tremolo, dbfs)))


def run_gate(samples: Samples, threshold: float = 0.5) -> tuple[Events, Gate[Samples]]:
    """Everything a fresh detector and gate say about `samples`."""
    detector, gate = SpeechDetector(threshold), Gate[Samples]()
    events: Events = []
    for chunk in samples.reshape(-1, CHUNK_SAMPLES):
        events += gate.push(chunk, speech=detector.is_speech(chunk))
    return events, gate


def passed_chunks(events: Events, total: int) -> NDArray[np.bool_]:
    """For each of `total` chunks whether the gate let it pass."""
    mask = np.zeros(total, np.bool_)
    for event in events:
        if isinstance(event, Passed):
            mask[event.index] = True
    return mask
