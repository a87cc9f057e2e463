"""A turn worker that follows a script: it speaks `schemas.turn` on the real Redis, and no more.

It takes Celery's messages off the queue itself, so a test decides when a worker is there, what
it says and where it dies.
"""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

from redis.asyncio import Redis

from schemas.turn import (
    HEARTBEAT_S,
    TURN_QUEUE,
    Asked,
    Cancel,
    Done,
    End,
    Heartbeat,
    Instruct,
    Measured,
    Pause,
    ReplyAudio,
    ReplyText,
    Resume,
    Spoken,
    Started,
    ToolAsked,
    ToolResult,
    Transcript,
    TurnError,
    TurnInput,
    TurnMetrics,
    TurnReply,
    TurnTask,
    UserAudio,
)
from workers.storage.sessions.conversation import Entry, History
from workers.storage.turns.streams import TurnStreams

DiesAt = Literal["start", "listening", "mid_audio", "before_done"]


def packet_of(sentence: int, index: int) -> bytes:
    """Return a packet that says where in the reply it belongs; only its size is Opus."""
    return b"\x78" + struct.pack("!HH", sentence, index) + bytes(20)


def place_of(packet: bytes) -> tuple[int, int]:
    """Return sentence and index of a packet made by `packet_of`."""
    sentence, index = struct.unpack_from("!HH", packet, 1)
    return sentence, index


@dataclass(frozen=True)
class Script:
    """What one attempt does."""

    transcript: str = "what time is it"
    sentences: tuple[str, ...] = ("It is noon.", "Anything else?")
    packets: int = 10
    dies_at: DiesAt | None = None
    error: TurnError | None = None
    before_error: int = 0
    """How many of the sentences come before the error; those behind it are an apology."""
    is_noise: bool = False
    hold_back_s: float = 0.0
    metrics: TurnMetrics = field(
        default_factory=lambda: TurnMetrics(queue_ms=1.0, model="scripted")
    )
    tools: tuple[ToolAsked, ...] = ()
    """What the client is asked for before the reply; a result, or its time running out, ends it."""


def asked(attempt: int) -> Asked:
    """Return what the scripted model is asked."""
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "what"})
    return Asked(attempt=attempt, model="scripted", messages=messages)


class ScriptedTurnWorker:
    """Runs every turn it is sent as `script(task)` says."""

    def __init__(self, redis: Redis, script: Callable[[TurnTask], Script]) -> None:
        self._redis = redis
        self._streams = TurnStreams(redis)
        self._history = History(redis)
        self._script = script
        self.tasks: list[TurnTask] = []
        self.results: list[ToolResult] = []
        self.inputs: dict[str, list[TurnInput]] = {}
        self.histories: dict[str, tuple[Entry, ...]] = {}
        self.spoken: dict[str, tuple[Spoken, ...]] = {}
        self.instructions: list[str | None] = []

    @classmethod
    @asynccontextmanager
    async def running(
        cls, redis: Redis, script: Callable[[TurnTask], Script] = lambda _: Script()
    ) -> AsyncIterator[Self]:
        worker = cls(redis, script)
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(worker._take(group), name="scripted worker")
            try:
                yield worker
            finally:
                taking.cancel()
                for task in worker._running:
                    task.cancel()

    @property
    def _running(self) -> set[asyncio.Task[None]]:
        return {t for t in asyncio.all_tasks() if t.get_name().startswith("scripted turn")}

    async def _take(self, group: asyncio.TaskGroup) -> None:
        while True:
            found = await self._redis.brpop([TURN_QUEUE], timeout=1)
            if found is None:
                continue
            body = json.loads(base64.b64decode(json.loads(found[1])["body"]))
            task = TurnTask.model_validate(body[1]["message"])
            self.tasks.append(task)
            group.create_task(self._run(task), name=f"scripted turn {task.turn_id}")

    async def _run(self, task: TurnTask) -> None:
        script = self._script(task)
        if script.dies_at == "start":
            return
        if task.attempt > 1:
            self.spoken[task.turn_id] = await self._streams.read_spoken(task.turn_id)
        attempt = _Attempt(self, task, script, self._streams)
        await attempt.run()

    async def note_history(self, task: TurnTask) -> None:
        self.histories[task.turn_id] = await self._history.read(task.session_id)


class _Attempt:
    def __init__(
        self, worker: ScriptedTurnWorker, task: TurnTask, script: Script, streams: TurnStreams
    ) -> None:
        self._worker = worker
        self._task = task
        self._script = script
        self._streams = streams

    async def _say(self, *entries: TurnReply) -> None:
        await self._streams.write_reply(self._task.turn_id, *entries)

    async def run(self) -> None:
        number = self._task.attempt
        await self._say(Started(attempt=number))
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat())
            status = await self._turn()
            beating.cancel()
        if status is not None:
            await self._say(Done(attempt=number, status=status, metrics=self._script.metrics))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._say(Heartbeat(attempt=self._task.attempt))

    async def _turn(self) -> Literal["completed", "ignored", "cancelled", "failed"] | None:
        if self._task.kind == "reply":
            await self._take_instructions()
        if self._task.kind == "utterance":
            ended = await self._listen()
            if ended != "end":
                return None if ended == "died" else "cancelled"
            if self._script.is_noise:
                return "ignored"
        await self._worker.note_history(self._task)
        if self._task.kind == "utterance":
            text = self._script.transcript
            await self._say(Transcript(attempt=self._task.attempt, text=text, final=True))
        if self._task.kind != "greeting":
            known = TurnMetrics(queue_ms=1.0, model="scripted", entry=1, tries=2)
            await self._say(
                asked(self._task.attempt), Measured(attempt=self._task.attempt, metrics=known)
            )
        await asyncio.sleep(self._script.hold_back_s)
        await self._call_tools()
        return await self._speak()

    async def _take_instructions(self) -> None:
        async for entry in self._streams.read_input(self._task.turn_id, wait_ms=1_000):
            if isinstance(entry, Instruct):
                self._worker.instructions.append(entry.instructions)
                return

    async def _call_tools(self) -> None:
        if not self._script.tools:
            return
        await self._say(*self._script.tools)
        waiting = {asked.call_id for asked in self._script.tools if asked.timeout_s >= 1}
        async for entry in self._streams.read_input(self._task.turn_id, wait_ms=1_000):
            if isinstance(entry, ToolResult):
                self._worker.results.append(entry)
                waiting.discard(entry.call_id)
            if not waiting or isinstance(entry, Cancel):
                return

    async def _listen(self) -> Literal["end", "cancelled", "died"]:
        words = self._script.transcript.split()
        seen = self._worker.inputs.setdefault(self._task.turn_id, [])
        seen.clear()
        async for entry in self._streams.read_input(self._task.turn_id, wait_ms=1_000):
            if entry is None:
                continue
            seen.append(entry)
            match entry:
                case UserAudio() if words and not self._script.is_noise:
                    said = " ".join(words[: len(seen)])
                    await self._say(Transcript(attempt=self._task.attempt, text=said, final=False))
                    if self._script.dies_at == "listening":
                        return "died"
                case End():
                    return "end"
                case Cancel():
                    return "cancelled"
                case Pause() | Resume() | _:
                    pass
        return "cancelled"

    async def _speak(self) -> Literal["completed", "failed"] | None:
        spoken = self._worker.spoken.get(self._task.turn_id, ())
        complete = {sentence.text for sentence in spoken if sentence.complete}
        begun = {sentence.text: sentence.packets for sentence in spoken if not sentence.complete}
        for number, text in enumerate(self._script.sentences):
            if number == self._script.before_error:
                await self._fail()
            if text in complete:
                continue
            first = begun.get(text, 0)
            await self._speak_sentence(number, text, first)
            if self._script.dies_at == "mid_audio":
                return None
        if self._script.before_error >= len(self._script.sentences):
            await self._fail()
        if self._script.dies_at == "before_done":
            return None
        return "failed" if self._script.error is not None else "completed"

    async def _fail(self) -> None:
        error = self._script.error
        if error is not None:
            await self._say(error.model_copy(update={"attempt": self._task.attempt}))

    async def _speak_sentence(self, number: int, text: str, first: int) -> None:
        attempt = self._task.attempt
        is_aside = self._script.error is not None and number >= self._script.before_error
        await self._say(ReplyText(attempt=attempt, sentence=number, text=text, is_aside=is_aside))
        dies = self._script.dies_at == "mid_audio"
        upto = self._script.packets // 2 if dies else self._script.packets
        packets = tuple(packet_of(number, index) for index in range(first, upto))
        await self._say(
            ReplyAudio(
                attempt=attempt,
                sentence=number,
                first=first,
                last=not dies,
                packets=packets,
            )
        )
