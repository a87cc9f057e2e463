"""A turn worker in a process of its own, a scripted model, and a gateway's part played here."""

import asyncio
import signal
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from celery import Celery
from numpy.typing import NDArray
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from edge.media.opus import OpusDecoder, OpusEncoder
from schemas.agent import Agent, Input, Lines, Output, Voice
from schemas.ids import new_id
from schemas.tool import ToolView
from schemas.turn import (
    TURN_QUEUE,
    TURN_TASK,
    Done,
    End,
    Pause,
    ReplyAudio,
    ReplyText,
    Transcript,
    TurnInput,
    TurnReply,
    TurnTask,
    UserAudio,
)
from tests.servers.databases import database_of
from tests.servers.model_server import ModelServer
from tests.servers.system import clean_environment
from workers.celery_app import make_celery
from workers.settings import Settings
from workers.storage.agents.rows import StoredAgent, add_agents
from workers.storage.database import open_engine, writing
from workers.storage.redis_client import connect
from workers.storage.sessions.conversation import History
from workers.storage.turns.streams import TurnStreams
from workers.storage.upgrade import upgrade

PACKET_S = 0.02
WORKER = "from workers.settings import Settings; from workers.turns.worker import run_worker; "
WORKER += "run_worker(Settings(_env_file=None))"


SPEECH = Path("/usr/share/pocketsphinx/test/data")


def recording(name: str) -> NDArray[np.int16]:
    """Speech of a person, from Debian's `pocketsphinx-testdata`."""
    if name.endswith(".raw"):
        return np.fromfile(SPEECH / name, dtype="<i2")
    with wave.open(str(SPEECH / name), "rb") as source:
        return np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")


def opus(samples: NDArray[np.int16]) -> list[bytes]:
    encoder = OpusEncoder()
    return encoder.encode(samples) + encoder.flush()


@dataclass
class Heard:
    """All that came back about a turn, with the time of each entry."""

    entries: list[tuple[float, TurnReply]] = field(default_factory=list)

    def of(self, *kinds: type[TurnReply]) -> list[TurnReply]:
        return [entry for _, entry in self.entries if isinstance(entry, kinds)]

    @property
    def done(self) -> Done:
        return next(entry for entry in reversed(self.of(Done)) if isinstance(entry, Done))

    @property
    def transcript(self) -> str:
        finals = [e.text for e in self.of(Transcript) if isinstance(e, Transcript) and e.final]
        assert len(finals) <= 1
        return finals[0] if finals else ""

    @property
    def text(self) -> str:
        return " ".join(e.text for e in self.of(ReplyText) if isinstance(e, ReplyText))

    @property
    def audio(self) -> NDArray[np.int16]:
        decoder = OpusDecoder(16_000)
        packets = [p for e in self.of(ReplyAudio) if isinstance(e, ReplyAudio) for p in e.packets]
        return np.concatenate([decoder.decode(packet) for packet in packets])


class Gateway:
    """Publishes turns and speaks into them, as the gateway does."""

    def __init__(
        self, celery: Celery, streams: TurnStreams, history: History, agent: Agent
    ) -> None:
        self.celery = celery
        self.streams = streams
        self.history = history
        self.agent = agent

    def new_turn(self, session_id: str | None = None) -> "CalledTurn":
        return CalledTurn(self, session_id or new_id("session"))


class CalledTurn:
    def __init__(self, gateway: Gateway, session_id: str) -> None:
        self.gateway = gateway
        self.session_id = session_id
        self.turn_id = new_id("turn")
        self.agent_id = gateway.agent.id

    async def publish(self, *, attempt: int = 1, kind: str = "utterance") -> None:
        task = TurnTask(
            kind=kind,
            turn_id=self.turn_id,
            session_id=self.session_id,
            agent_id=self.agent_id,
            attempt=attempt,
            published_at=time.time(),
        )
        await asyncio.to_thread(
            self.gateway.celery.send_task,
            TURN_TASK,
            kwargs={"message": task.model_dump(mode="json")},
            queue=TURN_QUEUE,
            expires=30,
            ignore_result=True,
        )

    async def write(self, *entries: TurnInput) -> None:
        await self.gateway.streams.write_input(self.turn_id, *entries)

    async def speak(self, packets: list[bytes], *, pace: float = 1.0) -> None:
        """Send the packets, two at a time, as fast as they were spoken."""
        clock = asyncio.get_running_loop().time
        start = clock()
        for first in range(0, len(packets), 2):
            await self.write(UserAudio(packets=tuple(packets[first : first + 2])))
            due = start + (first + 2) * PACKET_S * pace
            await asyncio.sleep(max(0.0, due - clock()))

    async def finish(self, *, silence_s: float = 0.4) -> None:
        await self.write(Pause())
        await asyncio.sleep(silence_s)
        await self.write(End(silence_ms=silence_s * 1000 + 200))

    async def listen(
        self, until: Callable[[TurnReply], bool], *, attempt: int = 1, timeout_s: float = 20
    ) -> Heard:
        heard = Heard()
        async with asyncio.timeout(timeout_s):
            async for entry in self.gateway.streams.read_reply(self.turn_id, wait_ms=100):
                if entry is None or entry.attempt != attempt:
                    continue
                heard.entries.append((time.monotonic(), entry))
                if until(entry):
                    break
        return heard

    async def hear_out(self, *, attempt: int = 1, timeout_s: float = 20) -> Heard:
        return await self.listen(
            lambda entry: isinstance(entry, Done), attempt=attempt, timeout_s=timeout_s
        )


@pytest.fixture
def fresh_model(model: ModelServer) -> None:
    """The model as it was before any test told it what to do."""
    model.script, model.token_s = None, 0.0
    model.requests.clear()


StartWorker = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]


@pytest.fixture(scope="module")
def worker_settings(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("turns")
    return Settings(
        _env_file=None,
        home=home,
        redis_url=redis_url,
        database_url=database_of(home),
        api_key="k" * 20,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def start_worker(worker_settings: Settings, model: ModelServer) -> StartWorker:
    """Start a worker process and wait until it has announced itself."""

    @contextmanager
    def start(**more: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            **clean_environment(EDGEWISE_HOME=str(worker_settings.home)),
            "EDGEWISE_REDIS_URL": str(worker_settings.redis_url),
            "EDGEWISE_MANAGED_LLM_BASE_URL": model.base_url,
            "EDGEWISE_MANAGED_LLM_MODEL": "echo",
            "EDGEWISE_MANAGED_LLM_API_KEY": "sk-very-secret",
            "EDGEWISE_LLM_FIRST_TOKEN_S": "2",
            "EDGEWISE_LLM_BETWEEN_TOKENS_S": "1",
            **more,
        }
        log = Path(worker_settings.home) / f"worker-{time.monotonic_ns()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stderr=out)
        try:
            _wait_until_present(worker_settings, process, log)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            sys.stdout.write(log.read_text())
            assert "sk-very-secret" not in log.read_text()
            BlockingRedis.from_url(str(worker_settings.redis_url)).delete("presence:turns")

    return start


def _wait_until_present(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    with BlockingRedis.from_url(str(settings.redis_url)) as redis:
        while not redis.zcard("presence:turns"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker) -> Iterator[subprocess.Popen[bytes]]:
    """The worker that the tests of a module share."""
    with start_worker() as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(worker_settings: Settings) -> AsyncIterator[Gateway]:
    redis: Redis = connect(worker_settings)
    celery = make_celery(worker_settings, TURN_QUEUE)
    agent = await asyncio.to_thread(store_agent, worker_settings)
    yield Gateway(celery, TurnStreams(redis), History(redis), agent)
    celery.close()
    await redis.aclose()


def store_agent(
    settings: Settings,
    tools: tuple[ToolView, ...] = (),
    *,
    voice: str = "ivy",
    lines: Lines | None = None,
) -> Agent:
    now = datetime.now(UTC)
    agent = Agent(
        id=new_id("agent"),
        name="Test",
        system_prompt="Be brief.",
        greeting="Hello. I am listening.",
        voice=Voice(voice_id=voice),
        input=Input(),
        output=Output(),
        lines=lines or Lines(),
        llm=(),
        tools=tools,
        created_at=now,
        updated_at=now,
    )
    upgrade(settings)
    engine = open_engine(settings)
    with writing(engine) as connection:
        add_agents(connection, [StoredAgent(account="default", version=1, agent=agent)])
    engine.dispose()
    return agent
