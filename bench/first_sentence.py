"""How late the first sentence is: from its last token being sent to text-to-speech having it.

Fifty turns at once in one process go the whole way of `run_turn`, with the worker's own model
client. The model's server is `edgewise llm-stub` in a process of its own, and each of its tokens
is a sentence that says when it was sent. What the user says is scripted, and the voice is silent.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import numpy as np
import uvloop

from bench.chat_client import SEED, STREAMS, moment_in
from bench.figure import Figure, NotMeasuredError, percentile
from bench.model import scripted_model
from edge.media.opus import OpusEncoder
from schemas.audio import REPLY_RATE
from schemas.chat import Message
from schemas.turn import End, TurnInput, TurnReply, UserAudio
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.providers.speech.scripted_stt import ScriptedStt
from workers.turns.ports import Pace, Ports, Samples, Turn
from workers.turns.run_turn import run_turn
from workers.turns.timeline import Timeline

MODEL = "stub-clock;ttft=1;rate=10;tokens=10"
ROUNDS, QUICK_ROUNDS = 8, 4
SPEECH = UserAudio(packets=tuple(OpusEncoder().encode(np.zeros(3_200, np.int16))))


class _Voice:
    """Notes how late the first sentence of a turn is, and says 20 ms of nothing."""

    def __init__(self) -> None:
        self.late_ms: float | None = None

    @contextlib.asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[AsyncIterator[Samples]]:  # noqa: ARG002  # the port's signature
        if self.late_ms is None:
            self.late_ms = 1000 * (time.monotonic() - moment_in(text))
        yield self._silence()

    async def _silence(self) -> AsyncIterator[Samples]:
        yield np.zeros(REPLY_RATE // 50, np.int16)


class _Nobody:
    """A conversation of which nothing is known, and a reply that nobody reads."""

    async def read(self) -> tuple[Message, ...]:
        return ()

    async def write(self, *entries: TurnReply) -> None:
        pass


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of how late the first sentence is."""
    with (
        scripted_model() as base_url,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,  # the worker's own loop
    ):
        late = runner.run(_measure(base_url, QUICK_ROUNDS if quick else ROUNDS))
    note = f"p50 {percentile(late, 0.5):.1f} ms, max {max(late):.1f} ms of {len(late)}"
    name = f"first sentence, last token sent to text-to-speech, {STREAMS} turns, p95"
    return [Figure(name, percentile(late, 0.95), "ms", 5, note=note)]


async def _measure(base_url: str, rounds: int) -> list[float]:
    rng = random.Random(SEED)  # noqa: S311  # spreads the turns, guards nothing
    async with (
        open_client(Budget(), 2 * STREAMS, parse_allow("127.0.0.1")) as client,
        asyncio.TaskGroup() as group,
    ):
        chat = OpenAiChat(client, Endpoint(base_url, MODEL), Budget())
        callers = [
            group.create_task(_call(chat, rounds, rng.random()), name=f"caller {number}")
            for number in range(STREAMS)
        ]
    # The first turn of each opens its connection and loads what loads lazily.
    return [late for caller in callers for late in caller.result()[1:]]


async def _call(chat: OpenAiChat, rounds: int, wait_s: float) -> list[float]:
    await asyncio.sleep(2 * wait_s)
    return [await _turn(chat) for _ in range(rounds)]


async def _turn(chat: OpenAiChat) -> float:
    voice, nobody = _Voice(), _Nobody()
    turn = Turn("turn", "session", 1, "ivy", "You are brief.")
    ports = Ports(stt=ScriptedStt(), chat=chat, tts=voice, conversation=nobody, reply=nobody)
    status = await run_turn(
        turn, _utterance(), ports, Timeline(time.monotonic, None, MODEL), Pace()
    )
    if voice.late_ms is None:
        raise NotMeasuredError(f"a turn was {status} without a sentence")
    return voice.late_ms


async def _utterance() -> AsyncIterator[TurnInput | None]:
    yield SPEECH
    yield End(silence_ms=600)
    await asyncio.Event().wait()
