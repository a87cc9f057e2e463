"""Speech to text over HTTP: `POST {base_url}/audio/transcriptions`, a segment at a time.

Each segment goes out as a WAV file at its pause. Where that fails, the built-in engine gets the
same speech; while the endpoint is known to be dead, it listens from the start.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import numpy as np
import structlog

from schemas.audio import SPEECH_RATE
from workers.errors import TranscriptionError
from workers.providers.speech.engine_breaker import EngineBreaker
from workers.providers.speech.speech_endpoint import (
    Deadline,
    EndpointError,
    SpeechEndpoint,
    check,
    translated,
)
from workers.providers.speech.wave_bytes import SAMPLE_BYTES, Samples, wav_file
from workers.strict_json import whole_text

SHORTEST_BYTES: Final = SPEECH_RATE // 10 * SAMPLE_BYTES
"""A tenth of a second: servers refuse less, and there is no word in it."""
LONGEST_BYTES: Final = 24 * 1024 * 1024
"""What the most widely used server takes, less its header: 13 minutes."""
MAX_ANSWER: Final = 256 * 1024
CHUNK: Final = 2 * SPEECH_RATE
AT_ONCE: Final = 2
"""Segments of one utterance under way at the same time, however often its speaker pauses."""

log = structlog.get_logger(__name__)


class Listening(Protocol):
    """One utterance on its way through the engine that stands in."""

    @property
    def partial(self) -> str:
        """What is understood so far."""

    def push(self, samples: Samples) -> None:
        """Take speech, 16 kHz mono."""

    def finish(self) -> Awaitable[str]:
        """End the segment and return its text."""


class StandIn(Protocol):
    """The engine that listens where the endpoint fails."""

    def listen(self) -> contextlib.AbstractAsyncContextManager[Listening]:
        """Open an utterance."""


@dataclass(frozen=True)
class SttBudget:
    """How long one transcription may take, in seconds; connecting has the client's deadline."""

    total_s: float = 5.0


class OpenAiStt:
    """One endpoint and model on the worker's shared client."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: SpeechEndpoint,
        budget: SttBudget,
        breaker: EngineBreaker,
        *,
        language: str | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._budget = budget
        self._form = {"model": endpoint.model, "response_format": "json"}
        if language is not None:
            self._form["language"] = language
        self.stand_in = stand_in
        self.breaker = breaker

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator["_Listening"]:
        """Open an utterance; what is still being transcribed at the end is dropped."""
        async with contextlib.AsyncExitStack() as stack:
            backup = None
            if self.stand_in is not None:
                await self.breaker.look()
                backup = await stack.enter_async_context(self.stand_in.listen())
            listening = _Listening(self, backup)
            try:
                yield listening
            finally:
                await listening.close()

    async def understand(self, pcm: bytes) -> str:
        """Return the words in 16 kHz mono speech, by whichever engine; TranscriptionError."""
        failure = "engine_left_alone"
        async with self.breaker.asking() as may_ask:
            if may_ask:
                try:
                    text = await self._transcribe(pcm)
                except EndpointError as error:
                    await self.breaker.failed(error)
                    failure = error.failure
                    log.warning("stt_failed", failure=failure, status=error.status_code)
                else:
                    await self.breaker.succeeded()
                    return text
        if self.stand_in is None:
            raise TranscriptionError(f"the speech-to-text endpoint failed ({failure})")
        async with self.stand_in.listen() as listening:
            samples = np.frombuffer(pcm, np.int16)
            for start in range(0, samples.size, CHUNK):
                listening.push(samples[start : start + CHUNK])
                # Other turns share this loop.
                await asyncio.sleep(0)
            return await listening.finish()

    async def _transcribe(self, pcm: bytes) -> str:
        file = wav_file(pcm, SPEECH_RATE)
        deadline = Deadline(self._budget.total_s)
        try:
            return await self._ask_by(deadline, file)
        except EndpointError as error:
            if error.failure != "disconnected":
                raise
        # A warm connection that the server was just closing; now it is a fresh one.
        return await self._ask_by(deadline, file)

    async def _ask_by(self, deadline: Deadline, file: bytes) -> str:
        with translated("timeout_total"):
            async with deadline.wait(self._budget.total_s):
                return await self._ask(file)

    async def _ask(self, file: bytes) -> str:
        answer = bytearray()
        async with self._client.stream(
            "POST",
            self._endpoint.url("audio/transcriptions"),
            headers=self._endpoint.headers,
            data=self._form,
            files={"file": ("speech.wav", file, "audio/wav")},
        ) as response:
            check(response)
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > MAX_ANSWER:
                    raise EndpointError("too_large", "the transcript is beyond 256 kB")
        return _text(bytes(answer))


def _text(answer: bytes) -> str:
    try:
        text = json.loads(answer)["text"]
    except (ValueError, TypeError, KeyError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise EndpointError("bad_content_type", "the answer is no JSON with a `text`")
    return " ".join(whole_text(text).split())


class _Listening:
    """Keeps the speech of a segment until its pause, or hands it to the engine that stands in."""

    def __init__(self, engine: OpenAiStt, backup: Listening | None) -> None:
        self._engine = engine
        self._backup = backup
        self._pcm = bytearray()
        self._stands_in = False
        self._tasks: list[asyncio.Task[str]] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def partial(self) -> str:
        return self._backup.partial if self._backup is not None and self._stands_in else ""

    def push(self, samples: Samples) -> None:
        if self._backup is not None and not self._pcm:
            self._stands_in = self._engine.breaker.is_open
        if self._backup is not None and self._stands_in:
            self._backup.push(samples)
        self._pcm += samples.tobytes()[: LONGEST_BYTES - len(self._pcm)]

    def finish(self) -> Awaitable[str]:
        pcm, self._pcm = bytes(self._pcm), bytearray()
        if self._backup is not None and self._stands_in:
            self._stands_in = False
            return self._backup.finish()
        text = self._understand(pcm) if len(pcm) >= SHORTEST_BYTES else _nothing()
        self._tasks.append(asyncio.create_task(text, name="stt-segment"))
        return self._tasks[-1]

    async def _understand(self, pcm: bytes) -> str:
        async with self._room:
            return await self._engine.understand(pcm)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _nothing() -> str:
    return ""
