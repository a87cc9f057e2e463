"""Text to speech over HTTP: `POST {base_url}/audio/speech`, a sentence at a time, as it is made.

Where it fails before the first sound of a sentence, the built-in engine says the sentence;
later, the sentence ends and the built-in engine goes on with the next.
"""

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import structlog

from edge.media.resample import Resampler
from schemas.audio import REPLY_RATE
from workers.errors import SynthesisError
from workers.providers.speech.engine_breaker import EngineBreaker
from workers.providers.speech.speech_endpoint import (
    Deadline,
    EndpointError,
    SpeechEndpoint,
    check,
    media_type,
    translated,
)
from workers.providers.speech.wave_bytes import RATES, NotPcmError, PcmStream, Samples

LONGEST_S: Final = 300
"""Seconds of speech that one sentence may become."""
PIECE: Final = REPLY_RATE // 5
"""200 ms: who encodes it keeps a shared loop for a millisecond only."""
_AUDIO: Final = re.compile(
    r"audio/(?:pcm|x-pcm|l16|raw|basic|wav|wave|x-wav|vnd\.wave)|application/octet-stream|"
)
"""Media types of PCM, with or without a WAV header; some servers name none."""
_RATE: Final = re.compile(r";\s*rate=(\d{4,6})\b", re.IGNORECASE)

log = structlog.get_logger(__name__)


class StandIn(Protocol):
    """The engine that speaks where the endpoint fails."""

    def speak(
        self, text: str, voice: str
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Samples]]:
        """Stream the speech of one sentence, 24 kHz mono."""


@dataclass(frozen=True)
class TtsBudget:
    """How long to wait for the speech of one sentence, in seconds.

    What a slow listener takes in between does not count.
    """

    first_byte_s: float = 3.0
    between_bytes_s: float = 2.0
    total_s: float = 30.0


class OpenAiTts:
    """One endpoint and model on the worker's shared client."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: SpeechEndpoint,
        budget: TtsBudget,
        voices: Mapping[str, str],
        breaker: EngineBreaker,
        *,
        stand_in: StandIn | None = None,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._budget = budget
        self._voices = voices
        self._stand_in = stand_in
        self._breaker = breaker

    @contextlib.asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[AsyncIterator[Samples]]:
        """Stream the speech of one sentence, 24 kHz mono; raises SynthesisError."""
        async with contextlib.aclosing(self._pieces(text, voice)) as pieces:
            yield pieces

    async def _pieces(self, text: str, voice: str) -> AsyncGenerator[Samples, None]:
        begun = False
        failure = "engine_left_alone"
        async with self._breaker.asking() as may_ask:
            if may_ask:
                try:
                    async with contextlib.aclosing(self._spoken(text, voice)) as pieces:
                        async for piece in pieces:
                            begun = True
                            yield piece
                except EndpointError as error:
                    await self._breaker.failed(error, for_good=begun)
                    failure, status = error.failure, error.status_code
                    log.warning("tts_failed", failure=failure, status=status, begun=begun)
                else:
                    await self._breaker.succeeded()
                    return
        if self._stand_in is None:
            raise SynthesisError(f"the text-to-speech endpoint failed ({failure})")
        if not begun:
            async with self._stand_in.speak(text, voice) as pieces:
                async for piece in pieces:
                    yield piece

    async def _spoken(self, text: str, voice: str) -> AsyncGenerator[Samples, None]:
        """Yield the endpoint's speech; a connection that broke before the first is made anew."""
        deadline = Deadline(self._budget.total_s)
        begun = False
        try:
            async with contextlib.aclosing(self._asked(text, voice, deadline)) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
        except EndpointError as error:
            if begun or error.failure != "disconnected":
                raise
        else:
            return
        async with contextlib.aclosing(self._asked(text, voice, deadline)) as pieces:
            async for piece in pieces:
                yield piece

    async def _asked(
        self, text: str, voice: str, deadline: Deadline
    ) -> AsyncGenerator[Samples, None]:
        budget = self._budget
        async with contextlib.AsyncExitStack() as stack:
            with translated("timeout_first_byte"):
                async with deadline.wait(budget.first_byte_s):
                    response = await stack.enter_async_context(self._post(text, voice))
                    chunks = response.aiter_raw()
                    chunk = await _first(response, chunks)
            speech = _Speech(response)
            while chunk is not None:
                for piece in speech.feed(chunk):
                    yield piece
                with translated("timeout_between_bytes"):
                    async with deadline.wait(budget.between_bytes_s):
                        chunk = await anext(chunks, None)
            for piece in speech.end():
                yield piece

    def _post(
        self, text: str, voice: str
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        body = {
            "model": self._endpoint.model,
            "input": text,
            "voice": self._voices[voice],
            "response_format": "pcm",
        }
        url, headers = self._endpoint.url("audio/speech"), self._endpoint.headers
        return self._client.stream("POST", url, json=body, headers=headers)


async def _first(response: httpx.Response, chunks: AsyncIterator[bytes]) -> bytes | None:
    check(response)
    if not _AUDIO.fullmatch(media_type(response)):
        raise EndpointError("bad_content_type", "the answer is no PCM audio")
    return await anext(chunks, None)


class _Speech:
    """From the bytes of an answer to pieces of speech of 24 kHz."""

    def __init__(self, response: httpx.Response) -> None:
        named = _RATE.search(response.headers.get("content-type", ""))
        rate = int(named[1]) if named else REPLY_RATE
        self._stream = PcmStream(rate if rate in RATES else REPLY_RATE)
        self._resampler: Resampler | None = None
        self._samples = 0

    def feed(self, chunk: bytes) -> list[Samples]:
        """Return what is speech by now; raises EndpointError."""
        try:
            samples = self._stream.feed(chunk)
        except NotPcmError as error:
            raise EndpointError("bad_content_type", str(error)) from None
        self._samples += samples.size
        if self._samples > LONGEST_S * self._stream.rate:
            raise EndpointError("too_large", "a sentence becomes more than five minutes")
        if not samples.size:
            return []
        if self._resampler is None:
            self._resampler = Resampler(self._stream.rate, REPLY_RATE)
        return _cut(self._resampler.push(samples))

    def end(self) -> list[Samples]:
        """Return what was still in the filter; raises EndpointError if nothing was spoken."""
        if self._resampler is None:
            raise EndpointError("empty", "the answer holds no speech")
        return _cut(self._resampler.flush())


def _cut(samples: Samples) -> list[Samples]:
    return [samples[start : start + PIECE] for start in range(0, samples.size, PIECE)]
