"""How soon the second model speaks when the first one stalls.

Turns ask by the turn worker's own `Answering`, with the defaults of the settings, on real
sockets: the first entry takes the request and says nothing, the second answers at once. The
circuit breaker is kept from opening: with it the stalled entry would not be asked any more.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import httpx
from pydantic import SecretStr
from structlog.testing import capture_logs

from bench.figure import Figure, NotMeasuredError, percentile
from bench.model import scripted_model
from schemas.chat import Answered, ChatRequest, Content, Message
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name
from workers.supervision.embedded_redis import private_redis
from workers.turns.answering import Answering, AnsweringRule
from workers.turns.asking import Entry
from workers.turns.latencies import Latencies
from workers.turns.models import budget_of
from workers.turns.ports import Chat

AT_ONCE: Final = 10
ROUNDS, QUICK_ROUNDS = 5, 2
REQUEST: Final = ChatRequest((Message("user", "Hello."),), "session_bench", "turn_bench", 1)


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the time to the second model's first token."""
    with (
        tempfile.TemporaryDirectory(prefix="edgewise-") as folder,
        private_redis(Path(folder)) as redis_url,
        scripted_model() as base_url,
    ):
        settings = Settings(_env_file=None, redis_url=redis_url)
        with capture_logs():  # each failed try is a line
            waits = asyncio.run(_measure(settings, base_url, QUICK_ROUNDS if quick else ROUNDS))
    note = f"p50 {percentile(waits, 0.5):.0f} ms, max {max(waits):.0f} ms of {len(waits)}"
    name = "the first model stalls: request to the second's first token, p95"
    return [Figure(name, percentile(waits, 0.95), "ms", 3_000, note=note)]


async def _measure(settings: Settings, base_url: str, rounds: int) -> list[float]:
    budget = budget_of(settings)
    redis = connect(settings)
    waits: list[float] = []
    try:
        async with open_client(budget, 4 * AT_ONCE, parse_allow("127.0.0.1")) as client:

            async def entries() -> list[Entry]:
                names = ("stub-stall", "stub")
                return [_entry(client, base_url, *numbered) for numbered in enumerate(names)]

            chat = Answering(
                "stub-stall",
                entries,
                budget,
                AnsweringRule(settings.llm_next_entry_s),
                breakers=Breakers(redis, BreakerRule(failures=1_000_000)),
                latencies=Latencies(),
            )
            for _ in range(rounds):
                waits += await asyncio.gather(*(_first_token_ms(chat) for _ in range(AT_ONCE)))
    finally:
        await redis.aclose()
    return waits


def _entry(client: httpx.AsyncClient, base_url: str, number: int, model: str) -> Entry:
    async def open_it(budget: Budget) -> Chat:
        return OpenAiChat(client, Endpoint(base_url, model, SecretStr("no-secret")), budget)

    return Entry(number, model, endpoint_name("bench", base_url, model), open_it)


async def _first_token_ms(chat: Chat) -> float:
    clock = asyncio.get_running_loop().time
    asked_at, entry = clock(), None
    async with chat.stream(REQUEST) as events:
        async for event in events:
            if isinstance(event, Answered):
                entry = event.entry
            if isinstance(event, Content) and entry == 1:
                return (clock() - asked_at) * 1000
    raise NotMeasuredError("the second model did not answer")
