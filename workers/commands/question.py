"""Spoken questions, for a demo on a machine where nobody speaks."""

import json
import wave
from pathlib import Path
from typing import Final

import numpy as np

from workers.providers.speech.engine_pool import EnginePool
from workers.providers.speech.engine_wire import Frame
from workers.providers.speech.espeak_process import END, ENGINE_RATE, SPEAK

QUESTIONS: Final = ("what time is it", "what is nine times seven")
VOICE: Final = {"voice": "en-us+klatt3", "rate": 150}
"""Of the engine's voices the one that pocketsphinx understands best (docs/develop.md)."""
ROOM: Final = 40.0
"""Loudness of the room around the voice, as a standard deviation of 16-bit samples.

A recording of digital silence confuses a recogniser that learned from real rooms.
"""
PAUSE_S: Final = 0.6


async def speak_question(file: Path, text: str) -> None:
    """Write the spoken question to a WAV file; raises EngineGoneError where espeak-ng fails."""
    pieces = []
    async with (
        EnginePool("workers.providers.speech.espeak_process", 1) as pool,
        pool.lease() as engine,
    ):
        await engine.send(Frame(SPEAK, json.dumps({"text": text, **VOICE}).encode()))
        while (frame := await engine.receive()).kind != END:
            pieces.append(np.frombuffer(frame.payload, np.int16))
    pause = np.zeros(int(PAUSE_S * ENGINE_RATE))
    voice = np.concatenate([pause, *pieces, pause])
    room = np.random.default_rng(seed=1).normal(0, ROOM, len(voice))
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(ENGINE_RATE)
        out.writeframes((voice + room).clip(-32_768, 32_767).astype("<i2").tobytes())
