"""`/v1/audio/transcriptions` and `/v1/audio/speech`: the built-in engines, paced or broken."""

import io
import json
import wave
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import numpy as np

from schemas.audio import REPLY_RATE
from workers.errors import SynthesisError, TranscriptionError
from workers.llm_stub.chat import Metronome, Pace
from workers.llm_stub.engines import Engines, Samples
from workers.llm_stub.exchange import Exchange
from workers.llm_stub.faults import SECRET, WHOLE, answer_wrongly, break_stream, stall
from workers.llm_stub.script import Script
from workers.providers.speech.engine_pool import EngineGoneError
from workers.providers.speech.scripted_stt import HEARD

PIECE: Final = REPLY_RATE // 10
"""100 ms of speech go out at once."""
ODD: Final = 1_001
LONGEST_TEXT: Final = 4_096
ENDLESS: Final = 0xFFFF_FFFF
"""The size in a WAV header whose file is still being made."""
FORMATS: Final = {"pcm": "audio/pcm", "wav": "audio/wav"}
ENGINE_FAILED: Final = "the built-in engine failed"


async def transcribe(exchange: Exchange, engines: Engines, pace: Pace) -> None:
    """Answer with the words in the WAV file of the form, as JSON, text or events."""
    script, asked = exchange.script, exchange.request
    if await _went_wrong(exchange, pace):
        return
    try:
        samples, rate = read_wav(asked.file)
        scripted = script.name == "scripted"
        text = HEARD if scripted else await engines.transcribe(samples, rate)
    except (ValueError, EOFError, wave.Error):
        await exchange.error(HTTPStatus.BAD_REQUEST, "`file` is no WAV file, 16-bit PCM")
        return
    except (TranscriptionError, EngineGoneError, TimeoutError, OSError):
        await exchange.error(HTTPStatus.INTERNAL_SERVER_ERROR, ENGINE_FAILED)
        return
    await Metronome(script, pace).beat()
    if str(asked.body.get("stream", "")).lower() == "true":
        await _transcript_events(exchange, text)
    elif asked.body.get("response_format") == "text":
        await exchange.whole("text/plain; charset=utf-8", f"{text}\n".encode())
    else:
        await exchange.json({"text": text})


async def speak(exchange: Exchange, engines: Engines, pace: Pace) -> None:
    """Answer with the speech of `input`, 24 kHz 16-bit mono, in chunks as it is made."""
    script, asked = exchange.script, exchange.request.body
    text, form = asked.get("input"), asked.get("response_format", "pcm")
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_TEXT:
        await exchange.error(HTTPStatus.BAD_REQUEST, "`input` has 1 to 4,096 characters")
        return
    if form not in FORMATS:
        await exchange.error(HTTPStatus.BAD_REQUEST, "`response_format` is pcm or wav here")
        return
    if script.after is None and await _went_wrong(exchange, pace):
        return
    await exchange.begin(FORMATS[str(form)])
    if "wav" in (form, script.name):
        await exchange.piece(_wav_header())
    metronome = Metronome(script, pace)
    number = 0
    try:
        async for piece in _pieces(engines.speak(text, str(asked.get("voice"))), script):
            if script.is_fault and number == (script.after or 0):
                if script.name == "huge-content":
                    await _drone(exchange)
                if not await break_stream(exchange, pace.keepalive_s):
                    return
            await metronome.beat()
            await exchange.piece(piece)
            number += 1
    except (SynthesisError, EngineGoneError, TimeoutError):
        await exchange.reset()
    await exchange.end()


async def _went_wrong(exchange: Exchange, pace: Pace) -> bool:
    """Do what the script says in place of an answer; True if that was all."""
    script = exchange.script
    if not script.is_fault or script.name in ("flaky", "no-done", "no-usage", "huge-content"):
        return False
    if script.name in WHOLE:
        await answer_wrongly(exchange)
    elif script.name == "stall":
        await stall(exchange)
        return script.lasts is None
    elif script.name == "reset":
        await exchange.reset()
    elif script.name in ("error", "error-429"):
        await exchange.json({"error": {"message": SECRET, "code": script.name}})
    elif script.name == "close":
        await exchange.json({"text": ""})
    else:
        await exchange.begin("application/json")
        await exchange.piece(b'{"text": "half')
        await break_stream(exchange, pace.keepalive_s)
    return True


async def _transcript_events(exchange: Exchange, text: str) -> None:
    await exchange.begin("text/event-stream")
    for word in text.split(" "):
        delta = {"type": "transcript.text.delta", "delta": f"{word} "}
        await exchange.event(json.dumps(delta))
    await exchange.event(json.dumps({"type": "transcript.text.done", "text": text}))
    await exchange.event("[DONE]")
    await exchange.end()


async def _pieces(speech: AsyncIterator[Samples], script: Script) -> AsyncIterator[bytes]:
    """Cut speech into pieces of 100 ms, or of an odd number of bytes."""
    size = ODD if script.name == "odd" else 2 * PIECE
    held = bytearray()
    async for samples in speech:
        held += samples.astype("<i2").tobytes()
        while len(held) > size:
            yield bytes(held[:size])
            del held[:size]
    yield bytes(held)


async def _drone(exchange: Exchange) -> None:
    """Send speech without end."""
    tone = (4_000 * np.sin(np.arange(PIECE) * 2 * np.pi * 220 / REPLY_RATE)).astype("<i2")
    while True:
        await exchange.piece(tone.tobytes())


def read_wav(data: bytes) -> tuple[Samples, int]:
    """Return samples and rate of a WAV file, its first channel; raises ValueError, wave.Error."""
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:  # noqa: PLR2004  # bytes of a 16-bit sample
            raise ValueError("only 16-bit samples are read")
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return frames[:: file.getnchannels()].astype(np.int16), file.getframerate()


def _wav_header() -> bytes:
    """Return the header of a WAV file whose length is not known yet."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(REPLY_RATE)
        header = bytearray(file.getvalue())
    header[4:8] = header[40:44] = ENDLESS.to_bytes(4, "little")
    return bytes(header)
