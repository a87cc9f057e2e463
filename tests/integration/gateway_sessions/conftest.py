"""A gateway of sessions alone: its routes, its registry, the real Redis, agents in a dict."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from celery import Celery
from fastapi import FastAPI
from redis.asyncio import Redis

from schemas.agent import Agent, Input, Lines, Output, TurnDetection, Voice
from schemas.ids import new_id
from tests.fakes.keys import KeysInADict
from tests.fakes.session_records import RecordsInALists
from workers.celery_app import make_celery
from workers.errors import StorageUnavailableError
from workers.gateway.rest_errors import add_error_handlers, crash_response
from workers.gateway.session.registry import SessionRegistry
from workers.gateway.session.sessions import router
from workers.settings import Settings
from workers.storage.agents.apologies import Apologies
from workers.storage.sessions.conversation import Exchange, History
from workers.storage.turns.streams import TurnStreams
from workers.web.key_ring import KeyRing
from workers.web.request_log import RequestLog

KEY = "test-key-0123456789"


class AgentsInADict:
    def __init__(self) -> None:
        self.by_id: dict[str, Agent] = {}
        self.looked_up = 0
        self.is_away = False

    def add(
        self,
        *,
        greeting: str | None = None,
        interrupt: bool = True,
        delay_ms: int = 0,
        lines: Lines | None = None,
    ) -> Agent:
        now = datetime.now(UTC)
        detection = TurnDetection(interrupt_response=interrupt, interruption_delay=delay_ms)
        agent = Agent(
            id=new_id("agent"),
            name="Test",
            system_prompt="Be brief.",
            greeting=greeting,
            voice=Voice(voice_id="ivy"),
            input=Input(turn_detection=detection),
            output=Output(),
            lines=lines or Lines(),
            llm=(),
            created_at=now,
            updated_at=now,
        )
        self.by_id[agent.id] = agent
        return agent

    def change(self, agent: Agent, detection: TurnDetection) -> None:
        changed = Input(turn_detection=detection)
        self.by_id[agent.id] = agent.model_copy(update={"input": changed})

    async def get(self, agent_id: str, account: str | None = None) -> Agent | None:
        self.looked_up += 1
        if self.is_away:
            raise StorageUnavailableError("neither Redis nor the database knows")
        return self.by_id.get(agent_id) if account in (None, "default") else None


@dataclass
class Needs:
    settings: Settings
    redis: Redis
    streams: TurnStreams
    history: History
    agents: AgentsInADict
    apologies: Apologies
    celery: Celery
    recorder: RecordsInALists
    session_history: RecordsInALists


@dataclass
class Gateway:
    """The gateway under test and an HTTP client that holds its key."""

    http: httpx.AsyncClient
    sessions: SessionRegistry
    agents: AgentsInADict
    history: History
    keys: KeysInADict
    records: RecordsInALists

    async def exchanges(self, session_path: str) -> list[Exchange]:
        """Return the turns that a session's history holds, and nothing else."""
        entries = await self.history.read(session_path.rpartition("/")[2])
        exchanges = [entry for entry in entries if isinstance(entry, Exchange)]
        assert len(exchanges) == len(entries), entries
        return exchanges


StartGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def start_gateway(settings: Settings, redis: Redis) -> StartGateway:
    """Start a gateway with settings of a test's own."""

    @asynccontextmanager
    async def start(**changes: object) -> AsyncIterator[Gateway]:
        changed = settings.model_copy(update={"endpoint_silence_ms": 300, **changes})
        celery = make_celery(changed, "gateway")
        agents = AgentsInADict()
        records = RecordsInALists()
        needs = Needs(
            changed,
            redis,
            TurnStreams(redis),
            History(redis),
            agents,
            Apologies(redis),
            celery,
            recorder=records,
            session_history=records,
        )
        sessions = SessionRegistry(needs)
        keys = KeysInADict()
        app = FastAPI()
        app.state.resources = needs
        app.state.sessions = sessions
        app.include_router(router)
        add_error_handlers(app)
        app.add_middleware(RequestLog, on_crash=crash_response)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            async with (
                KeyRing.open(KEY, keys.look_up) as app.state.keys,
                httpx.AsyncClient(
                    transport=transport, base_url="http://gateway", headers=headers
                ) as http,
            ):
                yield Gateway(http, sessions, agents, needs.history, keys, records)
        finally:
            await sessions.close()
            celery.close()

    return start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> AsyncIterator[Gateway]:
    async with start_gateway() as running:
        yield running
