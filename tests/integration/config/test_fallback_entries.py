"""An agent's stored entries, tried in order, each with its own key as it is at that moment."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.agent import Agent, Deadlines, LlmView
from schemas.chat import Answered, ChatEvent, ChatRequest, Message
from schemas.config_event import Change
from tests.integration.config.keys import accept, change, new_vault, sealed, upsert
from tests.integration.config.stored_agents import apply_at
from tests.servers.model_server import ModelServer
from workers.agent_config.endpoints import EndpointCheck
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.chat import Endpoint, open_client
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name
from workers.turns.entry_reader import EntryReader
from workers.turns.models import Models, budget_of

REQUEST = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 1)


@dataclass
class Owner:
    """An agent with two models of its own, beside the managed one."""

    engine: Engine
    settings: Settings
    redis: Redis
    vault: Vault
    servers: list[ModelServer]
    agent: Agent = field(init=False)
    breaker_rule: BreakerRule = field(default_factory=lambda: BreakerRule(failures=1))

    async def ask(self, **more: object) -> list[ChatEvent]:
        """Return what is said in a turn of a worker with these settings besides."""
        settings = self.settings.model_copy(update=more)
        async with open_client(budget_of(settings), 4, parse_allow("127.0.0.1")) as client:
            models = Models(
                settings,
                managed=Endpoint(self.servers[2].base_url, "managed", SecretStr("sk-managed")),
                managed_client=client,
                users_client=client,
                entries=EntryReader.of(self.engine, settings),
                breakers=Breakers(self.redis, self.breaker_rule),
            )
            async with models.of(self.agent).stream(REQUEST) as events:
                return [event async for event in events]

    def put(self, change: Change, key: str) -> None:
        seals = sealed(keys_folder(self.settings.home_path), change, key)
        event_id = accept(self.engine, change, seals)
        outcome = apply_at(self.engine, event_id, datetime.now(UTC), self.vault)
        assert outcome is not None
        assert outcome.stored is not None, outcome
        self.agent = outcome.stored.agent

    def keys(self, number: int) -> list[str]:
        return [r.headers["authorization"] for r in self.servers[number].requests]


@pytest.fixture
async def owner(engine: Engine, stored: Settings, redis: Redis) -> AsyncIterator[Owner]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ModelServer()) for _ in range(3)]
        llm = tuple(LlmView(base_url=s.base_url, model=f"own-{n}") for n, s in enumerate(servers))
        event = upsert().model_copy(update={"llm": llm[:2]})
        owner = Owner(engine, stored, redis, new_vault(stored), servers)
        owner.put(event, "sk-one")
        yield owner


def by(events: list[ChatEvent]) -> tuple[int | None, str, int]:
    answered = events[0]
    assert isinstance(answered, Answered)
    return answered.entry, answered.model, answered.tries


async def test_a_fallback_is_asked_with_its_own_key_where_the_operator_allows_it(
    owner: Owner,
) -> None:
    owner.servers[0].script = "401"
    assert by(await owner.ask(llm_fallbacks=1)) == (1, "own-1", 2)
    assert owner.keys(1) == ["Bearer sk-one"]
    with pytest.raises(ModelError) as caught:
        await owner.ask()
    assert caught.value.failure == "http_4xx"
    assert len(owner.servers[1].requests) == 1
    assert not owner.servers[2].requests


async def test_the_managed_model_answers_last_where_the_operator_says_so(owner: Owner) -> None:
    owner.servers[0].script = owner.servers[1].script = "401"
    with pytest.raises(ModelError):
        await owner.ask(llm_fallbacks=1)
    assert not owner.servers[2].requests
    more = {"llm_fallbacks": 1, "llm_fallback_to_managed": True}
    assert by(await owner.ask(**more)) == (None, "managed", 3)
    assert owner.keys(2) == ["Bearer sk-managed"]


async def test_rotated_keys_and_other_models_count_from_the_next_turn_for_every_entry(
    owner: Owner,
) -> None:
    owner.servers[0].script = "401"
    await owner.ask(llm_fallbacks=1)
    views = [view.model_copy(update={"model": f"new-{view.model}"}) for view in owner.agent.llm]
    owner.put(change(owner.agent.id, views), "sk-two")
    assert by(await owner.ask(llm_fallbacks=1)) == (1, "new-own-1", 2)
    for number in (0, 1):
        assert owner.keys(number) == ["Bearer sk-one", "Bearer sk-two"]


async def test_a_key_that_was_tampered_with_lets_the_next_entry_answer(owner: Owner) -> None:
    with owner.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE llm_entries SET account = 'other' WHERE entry = 0")
    assert by(await owner.ask(llm_fallbacks=1)) == (1, "own-1", 1)
    assert not owner.servers[0].requests


async def test_a_key_opens_for_the_call_while_every_thread_waits_for_the_database(
    owner: Owner,
) -> None:
    entries = EntryReader.of(owner.engine, owner.settings)
    row, _ = await entries.read(owner.agent.id)
    loop, is_back = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    stalled = loop.run_in_executor(None, is_back.wait)
    try:
        async with asyncio.timeout(5):
            endpoint = await entries.open(row)
        assert not stalled.done()
    finally:
        is_back.set()
        await stalled
    assert endpoint.api_key == SecretStr("sk-one")


async def test_an_agents_own_deadline_makes_room_for_the_next_entry(owner: Owner) -> None:
    owner.servers[0].script = "stall"
    owner.agent = owner.agent.model_copy(update={"deadlines": Deadlines(first_token=1.5)})
    events = await owner.ask(llm_fallbacks=1, llm_next_entry_s=60)
    assert by(events) == (1, "own-1", 2)
    assert isinstance(events[0], Answered)
    assert 1_500 <= events[0].failures[0].after_ms < 10_000


def test_a_list_that_is_too_long_is_refused_whichever_way_it_came() -> None:
    entry = LlmView(base_url="https://8.8.8.8/v1", model="m")
    with EndpointCheck.open(BaseUrlPolicy(), BaseUrlPolicy(), max_entries=2) as check:
        check([entry, entry])
        with pytest.raises(ChangeRefusedError) as caught:
            check([entry, entry, entry])
    assert (caught.value.param, caught.value.error_code) == ("llm", "validation_error")


@pytest.mark.parametrize(
    ("deadlines", "state"), [(Deadlines(), "open"), (Deadlines(first_token=0.3), "closed")]
)
async def test_an_agents_own_deadlines_do_not_open_the_circuit_of_others(
    owner: Owner, deadlines: Deadlines, state: str
) -> None:
    owner.agent = owner.agent.model_copy(update={"deadlines": deadlines, "llm": ()})
    owner.servers[2].script = "stall"
    with pytest.raises(ModelError):
        await owner.ask(llm_first_token_s=0.3)
    breakers = Breakers(owner.redis, owner.breaker_rule)
    managed = endpoint_name(None, owner.servers[2].base_url, "managed")
    assert await breakers.states([managed]) == [state]


async def test_what_a_prompt_can_bring_about_does_not_open_the_circuit_of_all(
    owner: Owner,
) -> None:
    owner.agent = owner.agent.model_copy(update={"llm": ()})
    managed = endpoint_name(None, owner.servers[2].base_url, "managed")
    for script in ("close@0", "close@1", "only-done@0", "401", "429", "huge-line@1"):
        owner.servers[2].script = script
        with pytest.raises(ModelError):
            await owner.ask()
    assert await Breakers(owner.redis, owner.breaker_rule).states([managed]) == ["closed"]
