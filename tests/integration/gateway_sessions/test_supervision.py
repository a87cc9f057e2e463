"""A worker that dies is replaced: the answer comes late, once, and never not at all."""

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.apology import BUILT_IN
from schemas.session_events import (
    AgentTranscript,
    GateOpened,
    ReplyDone,
    ReplyError,
    ReplyMetrics,
    SpeechStopped,
    UserTranscript,
)
from schemas.turn import TURN_QUEUE, ReplyAudio, ReplyText, Transcript, TurnTask
from tests.fakes.scripted_turn_worker import (
    DiesAt,
    Script,
    ScriptedTurnWorker,
    packet_of,
)
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway, StartGateway
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.streams import TurnStreams
from workers.supervision.embedded_redis import private_redis

SPEECH = [b"\x78" + bytes([number]) * 40 for number in range(12)]
IMPATIENT = pytest.mark.usefixtures("impatient")
WHOLE = [packet_of(sentence, index) for sentence in range(2) for index in range(10)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a queue that nobody reads as soon as on a worker that falls silent."""
    monkeypatch.setattr("workers.gateway.session.supervisor.LAST_START_S", 1.5)


@pytest.mark.parametrize("dies_at", ["start", "listening", "mid_audio", "before_done"])
async def test_the_second_attempt_finishes_what_the_first_began(
    gateway: Gateway, redis: Redis, dies_at: DiesAt
) -> None:
    agent = gateway.agents.add()

    def script(task: TurnTask) -> Script:
        return Script(dies_at=dies_at if task.attempt == 1 else None)

    async with (
        ScriptedTurnWorker.running(redis, script) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        assert [task.attempt for task in worker.tasks] == [1, 2]
        first, second = worker.tasks
        assert second.published_at - first.published_at < 5
        assert [packet for _, packet in client.packets] == WHOLE
        assert client.of(ReplyDone)[0].status == "completed"
        assert client.of(AgentTranscript)[0].text == "It is noon. Anything else?"
        assert client.of(ReplyMetrics)[0].attempts == 2
        assert [event.text for event in client.of(UserTranscript)] == ["what time is it"]
        assert Counter(client.types)["reply.started"] == 1
        history = await gateway.exchanges(client.session_path)
        assert [one.agent for one in history] == ["It is noon. Anything else?"]


async def test_a_silent_worker_is_replaced_a_second_and_a_half_after_its_last_word(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()

    def script(task: TurnTask) -> Script:
        return Script(dies_at="mid_audio" if task.attempt == 1 else None)

    async with (
        ScriptedTurnWorker.running(redis, script) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.started")
        died = time.time()
        await client.until(lambda: len(worker.tasks) == 2)
        assert 1.4 <= worker.tasks[1].published_at - died <= 4


async def test_late_words_of_a_dead_attempt_are_ignored(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    streams = TurnStreams(redis)

    def script(task: TurnTask) -> Script:
        return Script(dies_at="mid_audio") if task.attempt == 1 else Script(hold_back_s=0.3)

    async with (
        ScriptedTurnWorker.running(redis, script) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.until(lambda: len(worker.tasks) == 2)
        late = (packet_of(7, 7),)
        await streams.write_reply(
            worker.tasks[0].turn_id,
            Transcript(attempt=1, text="something else", final=True),
            ReplyText(attempt=1, sentence=1, text="Late words."),
            ReplyAudio(attempt=1, sentence=1, first=0, last=True, packets=late),
        )
        await client.heard("reply.metrics")
        assert [packet for _, packet in client.packets] == WHOLE
        assert client.of(AgentTranscript)[0].text == "It is noon. Anything else?"


async def test_the_second_attempt_is_told_what_was_said(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()

    def script(task: TurnTask) -> Script:
        return Script(dies_at="mid_audio" if task.attempt == 1 else None)

    async with (
        ScriptedTurnWorker.running(redis, script) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.metrics")
        (spoken,) = worker.spoken[worker.tasks[0].turn_id]
        assert (spoken.text, spoken.packets, spoken.complete) == ("It is noon.", 5, False)


@IMPATIENT
async def test_when_every_attempt_dies_the_user_is_told_so(gateway: Gateway, redis: Redis) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(dies_at="start")) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("reply.done", wait_s=25)
        assert [task.attempt for task in worker.tasks] == [1, 2, 3]
        assert client.of(ReplyError)[0].code == "turn_worker_lost"
        assert client.of(ReplyDone)[0].status == "failed"
        assert client.types.index("input.speech.stopped") < client.types.index("reply.error")
        # Not silence: the gateway has a line of its own, and that is what was heard.
        assert client.of(AgentTranscript)[0].text == BUILT_IN.text
        assert len(client.packets) > 100
        await client.until(lambda: gateway.sessions.busy == 0)


async def test_a_worker_that_is_back_after_seconds_still_answers(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        await client.say(SPEECH)
        await asyncio.sleep(6)
        async with ScriptedTurnWorker.running(redis) as worker:
            await client.heard("reply.done")
            assert client.of(ReplyDone)[0].status == "completed"
            assert [packet for _, packet in client.packets] == WHOLE
            assert worker.tasks[-1].attempt == 3


@IMPATIENT
async def test_without_any_worker_a_turn_fails_and_the_session_goes_on(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        await client.say(SPEECH)
        await client.heard("reply.done", wait_s=25)
        assert client.of(ReplyError)[0].retryable is True
        await redis.delete("turns")
        async with ScriptedTurnWorker.running(redis):
            await client.say(SPEECH)
            await client.heard("reply.done", 2)
            assert client.of(ReplyDone)[1].status == "completed"


@IMPATIENT
async def test_a_worker_that_is_lost_while_the_user_speaks_ends_the_turn_for_both(
    gateway: Gateway,
) -> None:
    agent = gateway.agents.add()
    async with Client.calling(gateway.http, agent.id) as client:
        client.send(GateOpened())
        client.send_packets(SPEECH)
        await client.heard("reply.done", wait_s=25)
        await client.heard("input.speech.stopped")
        assert client.of(ReplyError)[0].code == "turn_worker_lost"
        await client.until(lambda: gateway.sessions.busy == 0)


async def test_a_redis_that_is_gone_for_good_ends_the_turn_with_an_error(
    settings: Settings, start_gateway: StartGateway, tmp_path: Path
) -> None:
    with private_redis(tmp_path / "own") as url:
        own = connect(settings.model_copy(update={"redis_url": url}))
        async with start_gateway(redis_url=url) as gateway:
            agent = gateway.agents.add()
            async with Client.calling(gateway.http, agent.id) as client:
                client.send(GateOpened())
                client.send_packets(SPEECH)
                assert await own.brpop([TURN_QUEUE], timeout=2)
                with contextlib.suppress(RedisError):
                    await own.shutdown(nosave=True)
                await client.heard("reply.done", wait_s=25)
                assert client.of(ReplyError)[0].code == "unavailable"
                assert client.of(ReplyError)[0].retryable is True
                assert len(gateway.sessions) == 1
        await own.aclose()


async def test_a_turn_of_noise_gets_no_reply_and_an_empty_transcript(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis, lambda _: Script(is_noise=True)),
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH)
        await client.heard("transcript.user")
        await client.until(lambda: gateway.sessions.busy == 0)
        events = ["input.speech.started", "input.speech.stopped", "transcript.user"]
        assert client.types == ["session.ready", *events]
        assert client.of(UserTranscript)[0].text == ""
        assert await gateway.history.read(client.session_path.rpartition("/")[2]) == ()


async def test_a_pause_is_taken_back_when_the_user_speaks_on(
    gateway: Gateway, redis: Redis
) -> None:
    agent = gateway.agents.add()
    async with (
        ScriptedTurnWorker.running(redis) as worker,
        Client.calling(gateway.http, agent.id) as client,
    ):
        await client.say(SPEECH, silence_ms=0)
        await asyncio.sleep(0.1)
        await client.say(SPEECH)
        await client.heard("reply.done")
        kinds = [entry.type for entry in worker.inputs[worker.tasks[0].turn_id]]
        assert [kind for kind in kinds if kind != "audio"] == ["pause", "resume", "pause", "end"]
        assert len(worker.tasks) == 1
        assert len(client.of(SpeechStopped)) == 1
