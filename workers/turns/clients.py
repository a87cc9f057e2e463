"""Everything a turn worker holds open, opened once and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from workers.providers.base_url_allow import operators_allow, tools_allow, users_allow
from workers.providers.chat import Endpoint, open_client
from workers.providers.tools.http_tool import open_tool_client
from workers.providers.trust import trusted_authorities
from workers.settings import OFFLINE_MODEL, Settings
from workers.storage.agents.apologies import Apologies
from workers.storage.agents.lookup import AgentStore
from workers.storage.database import open_engine
from workers.storage.redis_client import connect, open_ahead
from workers.storage.sessions.conversation import History
from workers.storage.turns.breakers import BreakerRule, Breakers
from workers.storage.turns.streams import TurnStreams
from workers.storage.turns.tool_records import ToolRecords
from workers.turns.apology_maker import ApologyMaker
from workers.turns.due_first import DueFirst
from workers.turns.entry_reader import EntryReader
from workers.turns.models import Models, budget_of
from workers.turns.ports import SpeechToText, TextToSpeech
from workers.turns.prompt import PromptRule
from workers.turns.speech_engines import open_engines
from workers.turns.tool_headers import HeaderReader
from workers.turns.toolbox import AgentTools


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
    tools: AgentTools
    encoding: DueFirst
    apologies: ApologyMaker


@contextlib.asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    """Open them all, the speech engines warm; raises ConfigurationError."""
    budget, trusted = budget_of(settings), trusted_authorities(settings)
    async with contextlib.AsyncExitStack() as stack:
        redis = connect(settings)
        stack.push_async_callback(redis.aclose)
        # Each turn waits for its user on a connection of its own.
        await open_ahead(redis, settings.turn_slots)
        engine = open_engine(settings)
        stack.callback(engine.dispose)
        http = await stack.enter_async_context(
            open_client(budget, 2 * settings.turn_slots, operators_allow(settings), verify=trusted)
        )
        users_http = await stack.enter_async_context(
            open_client(budget, 2 * settings.turn_slots, users_allow(settings), verify=trusted)
        )
        tools_http = await stack.enter_async_context(
            open_tool_client(2 * settings.turn_slots, tools_allow(settings), verify=trusted)
        )
        stt, tts = await open_engines(settings, redis, stack)
        encoding = DueFirst()
        apologies = ApologyMaker(
            Apologies(redis), tts, encoding, has_built_in=settings.tts_engine == "espeak"
        )
        stack.push_async_callback(apologies.close)
        yield Clients(
            settings=settings,
            streams=TurnStreams(redis),
            history=History(redis),
            agents=AgentStore(engine, redis),
            stt=stt,
            models=Models(
                settings,
                managed=managed_endpoint(settings),
                managed_client=http,
                users_client=users_http,
                entries=EntryReader.of(engine, settings),
                breakers=Breakers(redis, breaker_rule(settings)),
            ),
            tts=tts,
            prompt_rule=PromptRule(
                settings.prompt_max_turns, settings.prompt_max_tokens, settings.prompt_suffix
            ),
            tools=AgentTools(ToolRecords(redis), HeaderReader.of(engine, settings), tools_http),
            encoding=encoding,
            apologies=apologies,
        )


def breaker_rule(settings: Settings) -> BreakerRule:
    """Return when the circuit breakers of models open."""
    return BreakerRule(settings.llm_breaker_failures, settings.llm_breaker_open_s)


def managed_endpoint(settings: Settings) -> Endpoint:
    """Return the operator's model; unset, the offline responder of our own LLM gateway."""
    if settings.managed_llm_base_url is None:
        return Endpoint(settings.llm_gateway_url, OFFLINE_MODEL, settings.api_key)
    return Endpoint(
        settings.managed_llm_base_url, settings.managed_llm_model, settings.managed_llm_api_key
    )
