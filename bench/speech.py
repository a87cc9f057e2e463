"""What the measurements say: sentences by espeak-ng, and people's recordings where installed."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.media.resample import Resampler
from edge.wav_source import read_speech
from schemas.audio import REPLY_RATE, SPEECH_RATE
from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.espeak_tts import MODULE, EspeakTts

QUESTIONS = ("What time is it now?", "Please repeat after me.", "What can you do?")
RECORDINGS = (
    "/usr/share/pocketsphinx/test/data/goforward.raw",
    "/usr/share/sounds/alsa/Front_Center.wav",
    "/usr/share/sounds/alsa/Rear_Right.wav",
    "/usr/share/sounds/alsa/Side_Left.wav",
)
STORY = (
    "Once upon a time there was a lighthouse on a rock in the middle of the sea. "
    "Every evening the keeper climbed the stairs and lit the lamp. "
    "The ships saw the light from far away and kept their distance from the rock. "
    "In winter the waves were as high as the house, and the door stayed shut for weeks. "
    "In summer the children of the village came over in a boat and counted the stairs. "
)
"""About 22 seconds of reply."""
AUDIBLE = 0.05
"""Loudness, as a share of the loudest 10 ms, from which on a sound belongs to the speech."""
FRAME = SPEECH_RATE // 100


@dataclass(frozen=True)
class Speech:
    """An utterance, 16 kHz mono, and where in it one begins and ceases to hear somebody."""

    samples: NDArray[np.int16]
    begins_s: float
    ends_s: float


def utterances() -> list[Speech]:
    """Return the questions and, where Debian's test recordings are installed, those, too."""
    return [bounded(samples) for samples in asyncio.run(_spoken(QUESTIONS)) + _recorded()]


def story() -> Speech:
    """Return about 22 seconds of speech without long pauses."""
    return bounded(asyncio.run(_spoken((STORY,)))[0])


def bounded(samples: NDArray[np.int16]) -> Speech:
    """Return the samples with the bounds of what is heard in them."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    loudness = np.sqrt((frames * frames).mean(axis=1))
    heard = np.flatnonzero(loudness >= AUDIBLE * loudness.max())
    return Speech(samples, float(heard[0]) / 100, float(heard[-1] + 1) / 100)


async def _spoken(texts: tuple[str, ...]) -> list[NDArray[np.int16]]:
    async with EnginePool(MODULE, 1) as pool:
        engine = EspeakTts(pool)
        return [await _say(engine, text) for text in texts]


async def _say(engine: EspeakTts, text: str) -> NDArray[np.int16]:
    down = Resampler(REPLY_RATE, SPEECH_RATE)
    async with engine.speak(text, "ivy") as pieces:
        spoken = [down.push(piece) async for piece in pieces]
    return np.concatenate([*spoken, down.flush()])


def _recorded() -> list[NDArray[np.int16]]:
    found = [Path(name) for name in RECORDINGS if Path(name).is_file()]
    return [
        np.fromfile(file, dtype="<i2") if file.suffix == ".raw" else read_speech(file)
        for file in found
    ]
