"""The speech engines of a turn worker, as the settings choose them."""

import asyncio
import contextlib
from typing import Final

import httpx
from redis.asyncio import Redis

from schemas.agent import VOICES
from workers.errors import ConfigurationError, SynthesisError, TranscriptionError
from workers.providers.base_url_allow import operators_allow
from workers.providers.chat import Budget, open_client
from workers.providers.speech.engine_breaker import ENGINE_RULE, EngineBreaker
from workers.providers.speech.engine_pool import EngineGoneError, EnginePool
from workers.providers.speech.espeak_tts import MODULE as ESPEAK
from workers.providers.speech.espeak_tts import EspeakTts
from workers.providers.speech.openai_stt import AT_ONCE, OpenAiStt, SttBudget
from workers.providers.speech.openai_tts import OpenAiTts, TtsBudget
from workers.providers.speech.pocketsphinx_stt import MODULE as SPHINX
from workers.providers.speech.pocketsphinx_stt import PocketsphinxStt
from workers.providers.speech.scripted_stt import ScriptedStt
from workers.providers.speech.speech_endpoint import SpeechEndpoint
from workers.providers.speech.speech_voices import read_voices
from workers.providers.trust import trusted_authorities
from workers.settings import Settings
from workers.storage.turns.breakers import Breakers
from workers.turns.due_first import DueFirst, Playing
from workers.turns.hearing import Hearing
from workers.turns.ports import SpeechToText, TextToSpeech
from workers.turns.voicing import opus_packets

WORDS: Final = "Hello."
REQUESTS: Final = AT_ONCE + 1
"""A turn may wait for that many transcripts, and for a sentence to be spoken."""


async def open_engines(
    settings: Settings, redis: "Redis", stack: contextlib.AsyncExitStack
) -> tuple[SpeechToText, TextToSpeech]:
    """Open both, those of this machine warm; raises ConfigurationError.

    An endpoint that is away is no reason not to start: it may come back.
    """
    client = None
    if "openai" in (settings.stt_engine, settings.tts_engine):
        budget = Budget(connect_s=settings.speech_connect_s)
        client = await stack.enter_async_context(
            open_client(
                budget,
                REQUESTS * settings.turn_slots,
                operators_allow(settings),
                verify=trusted_authorities(settings),
            )
        )
    local_stt = await _local_stt(settings, stack)
    local_tts = await _local_tts(settings, stack)
    try:
        await _warm_up(local_stt, local_tts)
    except (TranscriptionError, SynthesisError) as error:
        raise ConfigurationError(f"a speech engine does not work: {error}") from error
    stt: SpeechToText | None = local_stt
    tts: TextToSpeech | None = local_tts
    if client is not None and settings.stt_engine == "openai":
        stt = _remote_stt(settings, client, redis, local_stt)
    if client is not None and settings.tts_engine == "openai":
        tts = _remote_tts(settings, client, redis, local_tts)
    assert stt is not None and tts is not None  # noqa: S101, PT018  # either is local or remote
    return stt, tts


async def _local_stt(
    settings: Settings, stack: contextlib.AsyncExitStack
) -> PocketsphinxStt | ScriptedStt | None:
    if settings.stt_engine == "scripted":
        return ScriptedStt()
    if settings.stt_engine == "openai" and settings.stt_fallback == "none":
        return None
    return PocketsphinxStt(await _open_pool(SPHINX, settings.stt_processes, stack))


async def _local_tts(settings: Settings, stack: contextlib.AsyncExitStack) -> EspeakTts | None:
    if settings.tts_engine == "openai" and settings.tts_fallback == "none":
        return None
    first = await _open_pool(ESPEAK, 1, stack)
    others = [EnginePool(ESPEAK, 1, beside=first) for _ in range(settings.tts_processes - 1)]
    return EspeakTts(first, *[await stack.enter_async_context(other) for other in others])


def _remote_stt(
    settings: Settings, client: httpx.AsyncClient, redis: "Redis", stand_in: SpeechToText | None
) -> OpenAiStt:
    if settings.stt_base_url is None:
        raise ConfigurationError("EDGEWISE_STT_ENGINE=openai needs EDGEWISE_STT_BASE_URL")
    endpoint = SpeechEndpoint(settings.stt_base_url, settings.stt_model, settings.stt_api_key)
    return OpenAiStt(
        client,
        endpoint,
        SttBudget(settings.stt_total_s),
        EngineBreaker(Breakers(redis, ENGINE_RULE, "stt"), endpoint),
        language=settings.stt_language,
        stand_in=stand_in,
    )


def _remote_tts(
    settings: Settings, client: httpx.AsyncClient, redis: "Redis", stand_in: TextToSpeech | None
) -> OpenAiTts:
    if settings.tts_base_url is None:
        raise ConfigurationError("EDGEWISE_TTS_ENGINE=openai needs EDGEWISE_TTS_BASE_URL")
    endpoint = SpeechEndpoint(settings.tts_base_url, settings.tts_model, settings.tts_api_key)
    return OpenAiTts(
        client,
        endpoint,
        TtsBudget(settings.tts_first_byte_s, settings.tts_between_bytes_s, settings.tts_total_s),
        read_voices(settings.tts_voice),
        EngineBreaker(Breakers(redis, ENGINE_RULE, "tts"), endpoint),
        stand_in=stand_in,
    )


async def _warm_up(stt: SpeechToText | None, tts: TextToSpeech | None) -> None:
    """Go the way of a turn once, so that the first user does not wait for what loads lazily."""
    if tts is None:
        return
    playing = Playing(DueFirst(), asyncio.get_running_loop().time)
    said = [lot async for lot in opus_packets(WORDS, tts, next(iter(VOICES)), playing)]
    if stt is None:
        return
    async with stt.listen() as listening:
        hearing = Hearing(listening, max_utterance_s=1)
        hearing.feed(tuple(packet for lot in said for packet in lot))
        hearing.pause()
        await hearing.text()


async def _open_pool(module: str, size: int, stack: contextlib.AsyncExitStack) -> EnginePool:
    try:
        return await stack.enter_async_context(EnginePool(module, size))
    except (EngineGoneError, TimeoutError) as error:
        raise ConfigurationError(
            f"the speech engine of {module} does not start; `edgewise doctor` says what is missing"
        ) from error
