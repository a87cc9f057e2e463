"""A hundred turns at once on one turn worker process, against a model of 30 tokens a second.

A turn is a user who speaks for a second and is done, a reply of forty words, and its speech. A
hundred begin in a burst, within two seconds of each other, on a worker that has had one burst
before and has its connections open; then a hundred begin evenly over the
time that a reply takes to be heard, so that as many users are in a turn all the while. First audio
is counted from the user's end to the first packets in the reply stream; a single turn is measured
alone before. Speech-to-text is the scripted engine, as a hundred real ones are more than two cores
can do; the voice is the built-in one.
"""

import asyncio
import random
import time
from contextlib import aclosing
from dataclasses import dataclass

from bench.figure import Figure, NotMeasuredError, percentile
from bench.loss import speech_packets
from bench.model import MARK, scripted_model
from bench.turns import generator
from schemas.audio import PACKET_MS
from schemas.ids import new_id
from schemas.turn import Done, End, Pause, ReplyAudio, TurnError, TurnTask, UserAudio
from tests.servers.system import System, running_system
from workers.celery_app import make_celery
from workers.gateway.session.turn_queue import TurnQueue
from workers.gateway.session.utterance import BATCH
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.streams import TurnStreams

TURNS = 100
ALONE, QUICK_ALONE = 12, 6
SPREAD_S = 2.0
SPEECH_MS = 1_000
TOKENS_A_SECOND = 30.0
WHOLE_S = 60.0
SEED = 7
REPLY = (
    "There is a train at nine in the morning and one at noon. The first of them is slower, and it "
    "stops at every village on its way. The second one is fast and has a good place to eat. Which "
    "one do you like?"
)


@dataclass(frozen=True)
class Answered:
    """How long one turn took from the end of the user's speech, in milliseconds."""

    first_audio: float
    whole: float
    heard: float
    """How long the reply is to its listener."""
    trouble: str = ""
    """What went wrong, in the words of the reply."""


def run(*, quick: bool) -> list[Figure]:
    """Return how much longer first audio takes with a hundred turns than with one."""
    with scripted_model(rate=TOKENS_A_SECOND) as base_url:
        environment = {
            "EDGEWISE_MANAGED_LLM_BASE_URL": base_url,
            "EDGEWISE_MANAGED_LLM_MODEL": "stub",
            "EDGEWISE_STT_ENGINE": "scripted",
            "EDGEWISE_TURN_SLOTS": str(TURNS + 20),
        }
        with running_system(**environment) as system:
            return asyncio.run(_measure(system, QUICK_ALONE if quick else ALONE))


async def _measure(system: System, count: int) -> list[Figure]:
    settings = Settings(
        _env_file=None,
        home=system.home,
        redis_url=f"unix://{system.home / 'redis' / 'redis.sock'}",
    )
    redis = connect(settings)
    queue = TurnQueue(make_celery(settings, "bench"))
    callers = _Callers(system.agent(system_prompt=f"{MARK}{REPLY}"), TurnStreams(redis), queue)
    try:
        heard_s = (await callers.call(0)).heard / 1000
        alone = [await callers.call(0) for _ in range(count)]
        single = percentile([turn.first_audio for turn in alone], 0.5)
        rng = random.Random(SEED)  # noqa: S311  # spreads the callers, guards nothing
        waits_s = [SPREAD_S * rng.random() for _ in range(TURNS)]
        new = await _together(callers, waits_s)
        burst = await _together(callers, waits_s)
        steady = await _together(callers, [heard_s * number / TURNS for number in range(TURNS)])
    finally:
        queue.close()
        await redis.aclose()
    return [
        *_figures(f"begun within {SPREAD_S:g} s", single, burst, _of_a_new_worker(new)),
        *_figures("begun evenly over the length of a reply", single, steady),
    ]


async def _together(callers: "_Callers", waits_s: list[float]) -> list[Answered]:
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(callers.call(wait_s), name=f"caller {number}")
            for number, wait_s in enumerate(waits_s)
        ]
    return [call.result() for call in calls]


def _of_a_new_worker(together: list[Answered]) -> str:
    first = [turn.first_audio for turn in together if not turn.trouble]
    return f"; the first burst of a new worker p95 {percentile(first, 0.95):.0f} ms"


def _figures(how: str, single: float, together: list[Answered], more: str = "") -> list[Figure]:
    troubles = sorted({turn.trouble for turn in together if turn.trouble})
    well = [turn for turn in together if not turn.trouble]
    first = [turn.first_audio for turn in well]
    note = (
        f"p50 {percentile(first, 0.5):.0f} ms, p95 {percentile(first, 0.95):.0f} ms, max "
        f"{max(first):.0f} ms; alone p50 {single:.0f} ms; whole reply p95 "
        f"{percentile([turn.whole for turn in well], 0.95):.0f} ms, heard for "
        f"{percentile([turn.heard for turn in well], 0.5):.0f} ms{more}"
    )
    name = f"first audio, {TURNS} turns {how}, p95, over a single turn's"
    return [
        Figure(
            f"turns that end well of {TURNS} {how}, on one worker",
            len(well),
            "turns",
            TURNS,
            "at least",
            note=", ".join(troubles),
        ),
        Figure(name, percentile(first, 0.95) / single, "times", 1.3, note=note),
    ]


class _Callers:
    """Publishes turns as the gateway does and reads what comes of them."""

    def __init__(self, agent_id: str, streams: TurnStreams, queue: TurnQueue) -> None:
        self._agent_id = agent_id
        self._streams = streams
        self._queue = queue
        self._packets = speech_packets(SPEECH_MS // PACKET_MS)

    async def call(self, wait_s: float) -> Answered:
        """Speak, and listen to the end of the reply."""
        await asyncio.sleep(wait_s)
        turn_id = new_id("turn")
        await self._queue.publish(
            TurnTask(
                kind="utterance",
                turn_id=turn_id,
                session_id=new_id("session"),
                agent_id=self._agent_id,
                attempt=1,
                published_at=time.time(),
            )
        )
        await self._speak(turn_id)
        ended = time.monotonic()
        await self._streams.write_input(turn_id, Pause(), End(silence_ms=0))
        async with asyncio.timeout(WHOLE_S):
            return await self._listen(turn_id, ended)

    async def _speak(self, turn_id: str) -> None:
        due = time.monotonic()
        for start in range(0, len(self._packets), BATCH):
            batch = tuple(self._packets[start : start + BATCH])
            await self._streams.write_input(turn_id, UserAudio(packets=batch))
            due += len(batch) * PACKET_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _listen(self, turn_id: str, ended: float) -> Answered:
        first, packets, trouble = 0.0, 0, ""
        async with aclosing(generator(self._streams.read_reply(turn_id, wait_ms=250))) as entries:
            async for entry in entries:
                now = time.monotonic()
                if isinstance(entry, ReplyAudio):
                    first = first or now
                    packets += len(entry.packets)
                if isinstance(entry, TurnError):
                    trouble = entry.code
                if isinstance(entry, Done):
                    if entry.status != "completed":
                        trouble = trouble or entry.status
                    return Answered(
                        1000 * (first - ended), 1000 * (now - ended), packets * PACKET_MS, trouble
                    )
        raise NotMeasuredError(f"turn {turn_id} has no end")
