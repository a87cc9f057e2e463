"""A turn worker makes what the gateway says for an agent, once, and keeps it in the real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
import structlog
from redis.asyncio import Redis

from schemas.agent import Agent, Input, Lines, Output, Voice
from schemas.apology import BUILT_IN, MAX_PACKETS, Wording, apology_key
from schemas.audio import OpusForm
from schemas.ids import new_id
from tests.fakes.turns import FakeTts, until
from tests.servers.parts import configure
from workers.errors import SynthesisError
from workers.settings import Settings
from workers.storage.agents.apologies import FRESH_S, KEEP_S, Apologies
from workers.storage.redis_client import connect
from workers.turns import apology_maker
from workers.turns.apology_maker import ApologyMaker
from workers.turns.due_first import SOON_S, DueFirst
from workers.turns.ports import SpeaksOpus

LINE = "Tut mir leid."


def agent(line: str | None = LINE, voice: str = "ivy", agent_id: str | None = None) -> Agent:
    now = datetime.now(UTC)
    return Agent(
        id=agent_id or new_id("agent"),
        name="Test",
        system_prompt="Be brief.",
        greeting=None,
        voice=Voice(voice_id=voice),
        input=Input(),
        output=Output(),
        lines=Lines(failed=line),
        llm=(),
        created_at=now,
        updated_at=now,
    )


class Worker:
    """The maker of one worker, and the voice that it has."""

    def __init__(self, redis: Redis, *, has_built_in: bool = True) -> None:
        self.tts = FakeTts()
        self.kept = Apologies(redis)
        self.maker = ApologyMaker(self.kept, self.tts, DueFirst(), has_built_in=has_built_in)

    async def want(self, *agents: Agent) -> None:
        for one in agents:
            self.maker.want(one)
        await asyncio.gather(*_making())

    async def made(self, one: Agent) -> Wording | None:
        apology = await self.kept.read(one.id)
        return None if apology is None else apology.wording


def _making() -> list["asyncio.Task[None]"]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "make apologies"]


NewWorker = Callable[..., Worker]


@pytest.fixture
async def new_worker(redis: Redis) -> AsyncIterator[NewWorker]:
    workers: list[Worker] = []

    def new(*, has_built_in: bool = True) -> Worker:
        workers.append(Worker(redis, has_built_in=has_built_in))
        return workers[-1]

    yield new
    for one in workers:
        await one.maker.close()
    assert not _making()


async def test_an_agents_line_is_made_in_its_voice_once_for_all_workers(
    new_worker: NewWorker,
) -> None:
    german, first, second = agent(voice="ruby"), new_worker(), new_worker()
    await first.want(german)
    await first.want(german)
    await second.want(german)
    assert (first.tts.said, first.tts.voices) == ([LINE], ["ruby"])
    assert second.tts.said == []
    apology = await first.kept.read(german.id)
    assert apology is not None
    assert apology.wording == Wording(text=LINE, voice="ruby")
    assert abs(len(apology.packets) - len(LINE)) <= 1, "20 ms a letter"


class OpusTts(FakeTts):
    """Encodes what it says itself, and notes how soon each part of it is to be heard."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s: list[float] = []

    @contextlib.asynccontextmanager
    async def packets(
        self, _text: str, _voice: str, _form: OpusForm, turn: Callable[[], Awaitable[float]]
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        yield self._parts(turn)

    async def _parts(self, turn: Callable[[], Awaitable[float]]) -> AsyncIterator[list[bytes]]:
        for _ in range(2):
            self.ahead_s.append(await turn() - asyncio.get_running_loop().time())
            yield [b"\x78"]


async def test_it_is_made_behind_what_listeners_wait_for(redis: Redis) -> None:
    tts = OpusTts()
    assert isinstance(tts, SpeaksOpus)
    maker = ApologyMaker(Apologies(redis), tts, DueFirst(), has_built_in=True)
    maker.want(agent())
    await asyncio.gather(*_making())
    assert len(tts.ahead_s) == 2
    assert min(tts.ahead_s) > SOON_S


async def test_another_line_or_voice_is_made_anew(new_worker: NewWorker) -> None:
    worker, first = new_worker(), agent()
    for one in (first, agent("Das ging schief.", agent_id=first.id), agent(None, "ruby", first.id)):
        await worker.want(one)
        wanted = Wording(text=one.lines.failed or BUILT_IN.text, voice=one.voice.voice_id)
        assert await worker.made(first) == wanted
    assert len(worker.tts.said) == 3


async def test_what_is_older_than_a_day_is_made_anew_by_a_worker_that_looks(
    new_worker: NewWorker, redis: Redis
) -> None:
    one = agent()
    await new_worker().want(one)
    await redis.expire(apology_key(one.id), KEEP_S - FRESH_S)
    worker = new_worker()
    await worker.want(one)
    assert worker.tts.said == [LINE]


async def test_a_redis_that_forgot_is_told_again_after_a_while(
    new_worker: NewWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apology_maker, "LOOK_S", 0.0)
    worker, one = new_worker(), agent()
    await worker.want(one)
    await redis.flushdb()
    await worker.want(one)
    assert await worker.made(one) is not None
    assert worker.tts.said == [LINE, LINE]


@pytest.mark.parametrize("has_built_in", [True, False])
async def test_a_plain_agents_line_is_made_where_the_gateways_recording_is_of_another_voice(
    new_worker: NewWorker, *, has_built_in: bool
) -> None:
    worker, plain = new_worker(has_built_in=has_built_in), agent(None)
    await worker.want(plain)
    assert await worker.made(plain) == (None if has_built_in else BUILT_IN)


async def test_a_voice_that_fails_is_a_line_of_the_log_and_the_next_agent_gets_its_own(
    new_worker: NewWorker,
) -> None:
    worker, first, second = new_worker(), agent(), agent("Das ging schief.")
    worker.tts.broken = True
    with structlog.testing.capture_logs() as lines:
        await worker.want(first)
        await worker.want(first)
        worker.tts.broken = False
        await worker.want(second)
    assert [(line["event"], line["agent_id"], line["error"]) for line in lines] == [
        ("apology_not_made", first.id, SynthesisError.__name__)
    ]
    assert await worker.made(first) is None
    assert await worker.made(second) is not None


async def test_a_voice_that_hangs_is_given_up(
    new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apology_maker, "MAKE_S", 0.05)
    worker, one = new_worker(), agent()
    worker.tts.go.clear()
    with structlog.testing.capture_logs() as lines:
        await worker.want(one)
    assert [line["error"] for line in lines] == ["TimeoutError"]


async def test_speech_that_is_longer_than_any_line_is_not_kept(
    new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: object) -> AsyncIterator[list[bytes]]:
        yield [b"\x78"] * (MAX_PACKETS + 1)

    monkeypatch.setattr(apology_maker, "opus_packets", endless)
    worker, one = new_worker(), agent()
    with structlog.testing.capture_logs() as lines:
        await worker.want(one)
    assert [line["error"] for line in lines] == ["ValidationError"]
    assert await worker.made(one) is None


async def test_without_redis_nothing_is_made_and_nobody_hears_of_it(settings: Settings) -> None:
    nowhere = connect(configure(settings, redis_url="unix:///nowhere/redis.sock"))
    worker = Worker(nowhere)
    with structlog.testing.capture_logs() as lines:
        await worker.want(agent())
    assert [line["event"] for line in lines] == ["apology_not_made"]
    assert worker.tts.said == []
    await nowhere.aclose()


async def test_a_bounded_number_of_agents_waits_and_is_remembered(
    new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apology_maker, "MAX_WANTED", 2)
    monkeypatch.setattr(apology_maker, "MAX_KNOWN", 1)
    worker, agents = new_worker(), [agent() for _ in range(3)]
    await worker.want(*agents)
    assert [await worker.made(one) is not None for one in agents] == [True, True, False]
    await worker.want(agents[2])
    await worker.want(agents[0])
    assert await worker.made(agents[2]) is not None
    assert worker.tts.said == [LINE] * 3, "what is kept is not made again"


async def test_it_ends_in_the_middle_of_a_line(new_worker: NewWorker) -> None:
    worker, one = new_worker(), agent()
    worker.tts.go.clear()
    worker.maker.want(one)
    await until(lambda: bool(worker.tts.said))
    await worker.maker.close()
    assert not _making()
    assert await worker.kept.read(one.id) is None
