"""Speech over HTTP on real sockets: each fault has its class, ends in time, and somebody speaks."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import trustme
from pydantic import SecretStr
from redis.asyncio import Redis

from schemas.agent import VOICES
from tests.fakes.scripted_resolver import ScriptedResolver
from tests.fakes.turns import FakeStt, FakeTts
from tests.integration.providers.little_server import LittleServer
from tests.servers.certificates import certificate
from tests.servers.stalls import Stalls
from workers.errors import SynthesisError, TranscriptionError
from workers.llm_stub.server import LlmStub
from workers.providers.base_url_allow import ALLOW_NOTHING, parse_allow
from workers.providers.chat import Budget, open_client
from workers.providers.speech.engine_breaker import ENGINE_RULE, EngineBreaker
from workers.providers.speech.openai_stt import OpenAiStt, SttBudget
from workers.providers.speech.openai_tts import OpenAiTts, TtsBudget
from workers.providers.speech.speech_endpoint import SpeechEndpoint
from workers.storage.turns.breakers import Breakers
from workers.turns.ports import Samples

ALLOW = parse_allow("127.0.0.1")
KEY = "sk-very-secret"
SPEECH = np.fromfile("/usr/share/pocketsphinx/test/data/goforward.raw", dtype="<i2")
STT_PATIENT, TTS_PATIENT = SttBudget(total_s=10), TtsBudget(10, 10, 20)
STT_HASTY, TTS_HASTY = SttBudget(total_s=0.6), TtsBudget(0.6, 0.4, 4)
"""For those who shall be too late."""
TTS_IMPATIENT = TtsBudget(10, 1, 20)
"""For those who shall be too late in mid-sentence."""
OURS = {voice: f"their-{voice}" for voice in VOICES}
TEXT = "This is a sentence that takes a good while to be said."

BOTH = {
    "stall": "timeout",
    "reset": "disconnected",
    "401": "http_4xx",
    "429": "http_429",
    "500": "http_5xx",
    "redirect": "http_3xx",
    "html": "bad_content_type",
    "json": "bad_content_type",
    "gzip": "bad_content_type",
    "error": "bad_content_type",
    "broken-json": "bad_content_type",
}


@pytest.fixture
async def stub() -> AsyncIterator[LlmStub]:
    async with LlmStub() as stub:
        yield stub


@dataclass
class Rig:
    """Engines of one worker process."""

    client: httpx.AsyncClient
    redis: Redis

    def stt(self, url: str, model: str, **more: object) -> OpenAiStt:
        endpoint = SpeechEndpoint(url, model, SecretStr(KEY))
        breaker = EngineBreaker(Breakers(self.redis, ENGINE_RULE, "stt"), endpoint)
        budget = STT_HASTY if "stall" in model else STT_PATIENT
        return OpenAiStt(self.client, endpoint, budget, breaker, **more)  # type: ignore[arg-type]  # options of one engine

    def tts(self, url: str, model: str, **more: object) -> OpenAiTts:
        endpoint = SpeechEndpoint(url, model, SecretStr(KEY))
        breaker = EngineBreaker(Breakers(self.redis, ENGINE_RULE, "tts"), endpoint)
        begun = TTS_IMPATIENT if "stall@" in model else TTS_PATIENT
        budget = TTS_HASTY if model == "stub-stall" else begun
        return OpenAiTts(self.client, endpoint, budget, OURS, breaker, **more)  # type: ignore[arg-type]  # options of one engine


@pytest.fixture
async def rig(redis: Redis) -> AsyncIterator[Rig]:
    async with open_client(Budget(connect_s=5), 10, ALLOW) as client:
        yield Rig(client, redis)


async def heard(engine: OpenAiStt) -> str:
    async with engine.listen() as listening:
        listening.push(SPEECH)
        return await listening.finish()


async def spoken(engine: OpenAiTts) -> Samples:
    pieces = [np.empty(0, np.int16)]
    async with engine.speak(TEXT, "ivy") as speech:
        async for piece in speech:
            pieces.append(piece)  # noqa: PERF401  # what came before an error counts
    return np.concatenate(pieces)


@pytest.mark.parametrize(("model", "failure"), [*BOTH.items(), ("huge-line", "too_large")])
async def test_a_fault_of_transcription_has_its_class_and_ends_in_time(
    stub: LlmStub, rig: Rig, stalls: Stalls, model: str, failure: str
) -> None:
    memory, began = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(TranscriptionError) as caught:
        await heard(rig.stt(stub.base_url, f"stub-{model}"))
    assert stalls.seconds(began, time.monotonic()) < STT_HASTY.total_s + 0.5
    assert failure in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert psutil.Process().memory_info().rss - memory < 20_000_000
    async with asyncio.timeout(2):
        await asyncio.gather(*[request.closed.wait() for request in stub.requests])


@pytest.mark.parametrize(("model", "failure"), [*BOTH.items(), ("close@0", "empty")])
async def test_a_fault_of_speech_before_its_first_sound_has_its_class(
    stub: LlmStub, rig: Rig, stalls: Stalls, model: str, failure: str
) -> None:
    began = time.monotonic()
    with pytest.raises(SynthesisError) as caught:
        await spoken(rig.tts(stub.base_url, f"stub-{model}"))
    assert stalls.seconds(began, time.monotonic()) < TTS_HASTY.first_byte_s + 0.5
    assert failure in str(caught.value)
    assert "sk-" not in str(caught.value)
    async with asyncio.timeout(2):
        await asyncio.gather(*[request.closed.wait() for request in stub.requests])


@pytest.mark.parametrize(
    ("model", "failure"),
    [
        ("stall@2", "timeout_between_bytes"),
        ("reset@2", "disconnected"),
        ("huge-content@0", "too_large"),
    ],
)
async def test_a_fault_in_mid_sentence_ends_it_and_the_next_goes_by_the_engine_that_stands_in(
    stub: LlmStub, rig: Rig, model: str, failure: str
) -> None:
    memory = psutil.Process().memory_info().rss
    with pytest.raises(SynthesisError, match=failure):
        await spoken(rig.tts(stub.base_url, f"stub-{model}"))
    await rig.redis.flushdb()
    built_in = FakeTts()
    engine = rig.tts(stub.base_url, f"stub-{model}", stand_in=built_in)
    assert (await spoken(engine)).size >= 2 * 2_400
    assert built_in.said == []
    asked = len(stub.requests)
    await spoken(engine)
    assert built_in.said == [TEXT]
    assert len(stub.requests) == asked
    assert psutil.Process().memory_info().rss - memory < 40_000_000


async def test_a_dead_endpoint_costs_its_deadline_twice_and_then_nothing(
    stub: LlmStub, rig: Rig, stalls: Stalls
) -> None:
    ear, voice = FakeStt(*["Hello."] * 9, partial="Hel"), FakeTts()
    hearing = rig.stt(stub.base_url, "stub-stall", stand_in=ear)
    speaking = rig.tts(stub.base_url, "stub-stall", stand_in=voice)
    for _ in range(2):
        assert await heard(hearing) == "Hello."
        assert (await spoken(speaking)).size
    assert len(stub.requests) == 4
    began = time.monotonic()
    async with hearing.listen() as listening:
        listening.push(SPEECH)
        assert listening.partial == "Hel"
        assert await listening.finish() == "Hello."
    assert (await spoken(speaking)).size
    assert stalls.seconds(began, time.monotonic()) < STT_HASTY.total_s
    assert len(stub.requests) == 4


async def test_the_requests_are_what_the_protocol_asks_for(stub: LlmStub, rig: Rig) -> None:
    await heard(rig.stt(stub.base_url, "stub-scripted", language="en"))
    await spoken(rig.tts(stub.base_url + "/", "stub-wav"))
    first, second = stub.requests
    assert first.body == {"model": "stub-scripted", "response_format": "json", "language": "en"}
    assert first.file[:4] == b"RIFF"
    assert len(first.file) == 44 + 2 * SPEECH.size
    assert second.body == {
        "model": "stub-wav",
        "input": TEXT,
        "voice": "their-ivy",
        "response_format": "pcm",
    }
    for request in stub.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["accept-encoding"] == "identity"


async def test_a_speaker_of_many_pauses_has_two_transcripts_under_way_at_once(
    stub: LlmStub, rig: Rig
) -> None:
    class Counting(OpenAiStt):
        under_way = most = 0

        async def understand(self, pcm: bytes) -> str:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                return await super().understand(pcm)
            finally:
                self.under_way -= 1

    endpoint = SpeechEndpoint(stub.base_url, "stub-scripted")
    breaker = EngineBreaker(Breakers(rig.redis, ENGINE_RULE, "stt"), endpoint)
    engine = Counting(rig.client, endpoint, SttBudget(total_s=20), breaker)
    async with engine.listen() as listening:
        segments = []
        for _ in range(6):
            listening.push(SPEECH[:4_000])
            segments.append(listening.finish())
        assert await asyncio.gather(*segments) == ["what time is it"] * 6
    assert engine.most == 2
    assert len(stub.requests) == 6


async def test_too_little_to_hold_a_word_is_not_sent(stub: LlmStub, rig: Rig) -> None:
    async with rig.stt(stub.base_url, "stub").listen() as listening:
        listening.push(SPEECH[:800])
        assert await listening.finish() == ""
    assert not stub.requests


async def test_speech_comes_as_it_is_made_and_leaving_closes_it_within_100_ms(
    stub: LlmStub, rig: Rig, stalls: Stalls
) -> None:
    engine = rig.tts(stub.base_url, "stub;rate=4")
    async with engine.speak(TEXT, "ivy") as pieces:
        piece = await anext(aiter(pieces))
        assert piece.size <= 2_400
        (request,) = stub.requests
        assert not request.closed.is_set()
        left_at = time.monotonic()
    async with asyncio.timeout(2):
        await request.closed.wait()
    assert request.closed_at is not None
    assert stalls.seconds(left_at, request.closed_at) < 0.1


@pytest.mark.parametrize("fault", ["wrong name", "expired", "self-signed"])
async def test_a_certificate_that_proves_nothing_has_its_class_and_hears_nothing(
    redis: Redis, tmp_path: Path, fault: str
) -> None:
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    shown = certificate(fault, "speech.example.com", authority, tmp_path)
    async with (
        LittleServer(certificate=shown) as server,
        open_client(
            Budget(),
            10,
            parse_allow(f"speech.example.com:{server.port}"),
            verify=trusting,
            resolve=ScriptedResolver(["127.0.0.1"]),
        ) as client,
    ):
        rig, url = Rig(client, redis), f"https://speech.example.com:{server.port}/v1"
        with pytest.raises(TranscriptionError, match="tls"):
            await heard(rig.stt(url, "any"))
        with pytest.raises(SynthesisError, match="tls"):
            await spoken(rig.tts(url, "any"))
    assert server.heads == []


async def test_an_address_that_is_not_allowed_is_not_dialled(stub: LlmStub, redis: Redis) -> None:
    async with open_client(Budget(), 10, ALLOW_NOTHING) as client:
        with pytest.raises(SynthesisError, match="blocked_address"):
            await spoken(Rig(client, redis).tts(stub.base_url, "stub"))
    assert not stub.requests
