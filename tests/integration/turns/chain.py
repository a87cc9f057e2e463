"""Models in order, on real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
from pydantic import SecretStr
from redis.asyncio import Redis

from schemas.chat import ChatEvent, ChatRequest, Message
from tests.servers.model_server import ModelServer
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name
from workers.turns.answering import Answering, AnsweringRule
from workers.turns.asking import Entry
from workers.turns.latencies import Latencies
from workers.turns.ports import Chat

HASTY = Budget(connect_s=0.5, first_token_s=1.0, between_tokens_s=0.4, total_s=2.5)
PATIENT = Budget(connect_s=5, first_token_s=10, between_tokens_s=10, total_s=20)
"""For tests in which nobody shall be too late, however busy the machine."""
QUICK_RULE, SLOW_RULE = AnsweringRule(next_entry_s=0.4), AnsweringRule(next_entry_s=8)
REQUEST = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 1)
ALLOW = parse_allow("127.0.0.1")


@dataclass
class Chain:
    """Servers that are asked one after another, with time for all of them."""

    client: httpx.AsyncClient
    redis: Redis
    servers: list[ModelServer]
    budget: Budget = PATIENT
    rule: AnsweringRule = SLOW_RULE
    breaker_rule: BreakerRule = field(default_factory=lambda: BreakerRule(failures=100))
    latencies: Latencies = field(default_factory=Latencies)
    locked: frozenset[int] = frozenset()
    """Entries whose key does not open."""
    stuck: frozenset[int] = frozenset()
    """Entries whose key takes for ever to open."""

    def be_hasty(self) -> None:
        """Leave so little time that those who stall are given up soon."""
        self.budget, self.rule = HASTY, QUICK_RULE

    def chat(self) -> Answering:
        return Answering(
            "first",
            self._entries,
            self.budget,
            self.rule,
            breakers=Breakers(self.redis, self.breaker_rule),
            latencies=self.latencies,
        )

    async def ask(self) -> list[ChatEvent]:
        """Return all that is said."""
        return await read(self.chat())

    def name(self, number: int) -> str:
        return endpoint_name("default", self.servers[number].base_url, f"model-{number}")

    async def _entries(self) -> list[Entry]:
        return [self._entry(number, server) for number, server in enumerate(self.servers)]

    def _entry(self, number: int, server: ModelServer) -> Entry:
        async def open_it(budget: Budget) -> Chat:
            if number in self.stuck:
                await asyncio.Event().wait()
            if number in self.locked:
                raise ModelError("credentials_unavailable", "scripted", retryable=False)
            endpoint = Endpoint(server.base_url, f"model-{number}", SecretStr(f"sk-{number}"))
            return OpenAiChat(self.client, endpoint, budget)

        return Entry(number, f"model-{number}", self.name(number), open_it)


async def read(chat: Chat, into: list[ChatEvent] | None = None) -> list[ChatEvent]:
    """Return all that is said; `into` has it, too, where there is an error."""
    got = [] if into is None else into
    async with chat.stream(REQUEST) as events:
        async for event in events:
            got.append(event)  # what came before an error counts
    return got


@contextlib.asynccontextmanager
async def running_chain(redis: Redis, count: int) -> AsyncIterator[Chain]:
    """Start that many servers; each says who it is."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                ModelServer(say=f"I am number {number}. " + "word " * 50)
            )
            for number in range(count)
        ]
        for server in servers:
            server.script = "say"
        client = await stack.enter_async_context(open_client(HASTY, 20, ALLOW))
        yield Chain(client, redis, servers)
