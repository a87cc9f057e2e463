"""Everything a turn worker holds open, opened once and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from schemas.agent import VOICES
from workers.errors import ConfigurationError, SynthesisError, TranscriptionError
from workers.providers.base_url_allow import operators_allow, users_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.providers.engine_pool import EngineGoneError, EnginePool
from workers.providers.espeak_tts import MODULE as ESPEAK
from workers.providers.espeak_tts import EspeakTts
from workers.providers.pocketsphinx_stt import MODULE as SPHINX
from workers.providers.pocketsphinx_stt import PocketsphinxStt
from workers.providers.scripted_stt import ScriptedStt
from workers.settings import OFFLINE_MODEL, Settings
from workers.storage.agents import AgentStore
from workers.storage.database import open_engine
from workers.storage.history import History
from workers.storage.redis_client import connect
from workers.storage.turn_streams import TurnStreams
from workers.turns.hearing import Hearing
from workers.turns.models import EntryReader, Models
from workers.turns.ports import SpeechToText, TextToSpeech
from workers.turns.prompt import PromptRule
from workers.turns.voicing import opus_packets


@dataclass(frozen=True)
class Clients:
    """What the turns of one worker process share."""

    settings: Settings
    streams: TurnStreams
    history: History
    agents: AgentStore
    stt: SpeechToText
    models: Models
    tts: TextToSpeech
    prompt_rule: PromptRule


@contextlib.asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    """Open them all, the speech engines warm; raises ConfigurationError."""
    budget = Budget(
        connect_s=settings.llm_connect_s,
        first_token_s=settings.llm_first_token_s,
        between_tokens_s=settings.llm_between_tokens_s,
        total_s=settings.llm_total_s,
    )
    async with contextlib.AsyncExitStack() as stack:
        redis = connect(settings)
        stack.push_async_callback(redis.aclose)
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        http = await stack.enter_async_context(
            open_client(budget, 2 * settings.turn_slots, operators_allow(settings))
        )
        users_http = await stack.enter_async_context(
            open_client(budget, 2 * settings.turn_slots, users_allow(settings))
        )
        stt = await _open_stt(settings, stack)
        tts = EspeakTts(await _open_pool(ESPEAK, settings.tts_processes, stack))
        try:
            await _warm_up(stt, tts)
        except (TranscriptionError, SynthesisError) as error:
            raise ConfigurationError(f"a speech engine does not work: {error}") from error
        yield Clients(
            settings=settings,
            streams=TurnStreams(redis),
            history=History(redis),
            agents=AgentStore(engine, redis),
            stt=stt,
            models=Models(
                OpenAiChat(http, managed_endpoint(settings), budget),
                users_http,
                budget,
                EntryReader.of(engine, settings),
            ),
            tts=tts,
            prompt_rule=PromptRule(
                settings.prompt_max_turns, settings.prompt_max_tokens, settings.prompt_suffix
            ),
        )


def managed_endpoint(settings: Settings) -> Endpoint:
    """Return the operator's model; unset, the offline responder of our own LLM gateway."""
    if settings.managed_llm_base_url is None:
        return Endpoint(settings.llm_gateway_url, OFFLINE_MODEL, settings.api_key)
    return Endpoint(
        settings.managed_llm_base_url, settings.managed_llm_model, settings.managed_llm_api_key
    )


async def _warm_up(stt: SpeechToText, tts: TextToSpeech) -> None:
    """Go the way of a turn once, so that the first user does not wait for what loads lazily."""
    said = [packets async for packets in opus_packets("Hello.", tts, next(iter(VOICES)))]
    async with stt.listen() as listening:
        hearing = Hearing(listening, max_utterance_s=1)
        hearing.feed(tuple(packet for packets in said for packet in packets))
        hearing.pause()
        await hearing.text()


async def _open_stt(settings: Settings, stack: contextlib.AsyncExitStack) -> SpeechToText:
    if settings.stt_engine == "scripted":
        return ScriptedStt()
    return PocketsphinxStt(await _open_pool(SPHINX, settings.stt_processes, stack))


async def _open_pool(module: str, size: int, stack: contextlib.AsyncExitStack) -> EnginePool:
    try:
        return await stack.enter_async_context(EnginePool(module, size))
    except (EngineGoneError, TimeoutError) as error:
        raise ConfigurationError(
            f"the speech engine of {module} does not start; `edgewise doctor` says what is missing"
        ) from error
