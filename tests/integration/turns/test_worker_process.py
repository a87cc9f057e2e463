"""The life of a worker process: killed, stopped, its engines killed, many turns at once."""

import asyncio
import os
import signal
import subprocess
import time

import psutil
import pytest

from schemas.turn import Done, Heartbeat, ReplyAudio, ReplyText, Spoken, Started
from tests.integration.turns.conftest import (
    CalledTurn,
    Gateway,
    Heard,
    StartWorker,
    opus,
    recording,
)
from tests.servers.model_server import ModelServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("fresh_model")]


def engines(worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process(worker.pid).children(recursive=True)
        if any("_process" in word for word in process.cmdline())
    ]


def spoken_of(heard: Heard) -> tuple[Spoken, ...]:
    """What the gateway would have accepted of the attempt."""
    sentences: dict[int, Spoken] = {}
    for _, entry in heard.entries:
        if isinstance(entry, ReplyText):
            sentences[entry.sentence] = Spoken(text=entry.text, packets=0, complete=False)
        if isinstance(entry, ReplyAudio):
            before = sentences[entry.sentence]
            packets = before.packets + len(entry.packets)
            sentences[entry.sentence] = Spoken(
                text=before.text, packets=packets, complete=entry.last
            )
    return tuple(sentences[number] for number in sorted(sentences))


async def test_a_second_attempt_on_another_worker_finishes_what_a_killed_one_began(
    start_worker: StartWorker, gateway: Gateway, model: ModelServer
) -> None:
    model.say = "First sentence. Second sentence. Third sentence. Fourth one. Fifth one."
    model.script, model.token_s = "say", 0.1
    turn = gateway.new_turn()
    with start_worker() as worker:
        await turn.publish()
        await turn.speak(opus(recording("cards/003.wav")), pace=0)
        await turn.finish(silence_s=0)
        first = await turn.listen(lambda e: isinstance(e, ReplyText) and e.sentence == 1)
        worker.send_signal(signal.SIGKILL)
        orphans = engines(worker)
    spoken = spoken_of(first)
    assert spoken[0].text == "First sentence."
    await gateway.streams.write_spoken(turn.turn_id, spoken)

    with start_worker():
        await turn.publish(attempt=2)
        second = await turn.hear_out(attempt=2)
    assert second.done.status == "completed"
    texts = [e.text for e in second.of(ReplyText) if isinstance(e, ReplyText)]
    assert texts == ["Second sentence.", "Third sentence.", "Fourth one.", "Fifth one."]
    numbers = [e.sentence for e in second.of(ReplyText) if isinstance(e, ReplyText)]
    assert numbers == [1, 2, 3, 4]
    audio = [e for e in second.of(ReplyAudio) if isinstance(e, ReplyAudio) and e.sentence == 1]
    assert next(e for e in audio if e.packets).first == spoken[1].packets
    _gone, alive = psutil.wait_procs(orphans, timeout=5)
    assert not alive


async def test_sigterm_ends_an_idle_worker_and_its_engines_at_once(
    start_worker: StartWorker,
) -> None:
    with start_worker() as worker:
        children = psutil.Process(worker.pid).children(recursive=True)
        assert len(children) >= 2
        started = time.monotonic()
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 30) == 0
        assert time.monotonic() - started < 10
    _gone, alive = psutil.wait_procs(children, timeout=3)
    assert not alive


async def test_sigterm_ends_a_worker_in_the_middle_of_a_turn_at_once(
    start_worker: StartWorker, gateway: Gateway, model: ModelServer
) -> None:
    model.script, model.token_s = "story", 0.05
    with start_worker() as worker:
        turn = gateway.new_turn()
        await turn.publish()
        await turn.speak(opus(recording("cards/003.wav")), pace=0)
        await turn.finish(silence_s=0)
        await turn.listen(lambda entry: isinstance(entry, ReplyAudio))
        started = time.monotonic()
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 30) == 0
        assert time.monotonic() - started < 10
        await turn.write()


@pytest.mark.parametrize("which", ["children", "all"])
async def test_engines_that_are_killed_are_replaced_and_the_words_are_kept(
    start_worker: StartWorker, gateway: Gateway, which: str
) -> None:
    with start_worker() as worker:
        turn = gateway.new_turn()
        await turn.publish()
        packets = opus(recording("goforward.raw"))
        await turn.speak(packets[:60])
        for process in engines(worker):
            if which == "all" or process.ppid() != worker.pid:
                os.kill(process.pid, signal.SIGKILL)
        await turn.speak(packets[60:])
        await turn.finish()
        heard = await turn.hear_out()
    assert heard.transcript == "go forward ten meters"
    assert heard.done.status == "completed"


async def test_thirty_turns_at_once_start_without_waiting(
    start_worker: StartWorker, gateway: Gateway
) -> None:
    running = 30
    packets = opus(recording("cards/003.wav"))
    with start_worker(EDGEWISE_STT_ENGINE="scripted", EDGEWISE_LOG_LEVEL="WARNING"):
        holding = [gateway.new_turn() for _ in range(running)]
        for turn in holding:
            await turn.publish()
        await asyncio.gather(*[turn.listen(lambda e: isinstance(e, Started)) for turn in holding])
        speaking = asyncio.gather(*[turn.speak(packets) for turn in holding])
        measured = [await _queue_ms(gateway) for _ in range(40)]
        await speaking
        await asyncio.gather(*[turn.finish(silence_s=0) for turn in holding])
        done = await asyncio.gather(*[turn.hear_out() for turn in holding])
    assert all(heard.done.status == "completed" for heard in done)
    assert all(heard.of(Heartbeat) for heard in done)
    measured.sort()
    print(f"queue, 30 turns running: p50 {measured[20]:.1f} ms, p95 {measured[37]:.1f} ms")
    assert measured[20] < 50


async def _queue_ms(gateway: Gateway) -> float:
    turn: CalledTurn = gateway.new_turn()
    await turn.publish(kind="greeting")
    heard = await turn.listen(lambda entry: isinstance(entry, Done))
    assert heard.done.metrics.queue_ms is not None
    return heard.done.metrics.queue_ms
