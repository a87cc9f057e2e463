"""Stand-ins for the ports of a turn, with knobs; the contract tests hold them to the real ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import numpy as np

from schemas.chat import ChatEvent, ChatRequest, Content, Finished, Message
from schemas.turn import TurnInput, TurnReply
from workers.errors import ModelError, SynthesisError, TranscriptionError
from workers.turns.ports import Samples

RATE = 24_000


class FakeListening:
    def __init__(self, stt: "FakeStt") -> None:
        self._stt = stt
        self._heard = 0
        self._given: list[asyncio.Task[str]] = []

    @property
    def partial(self) -> str:
        return self._stt.partial if self._heard else ""

    def push(self, samples: Samples) -> None:
        self._heard += samples.size
        self._stt.samples += samples.size

    def finish(self) -> Awaitable[str]:
        text = self._stt.segments.pop(0) if self._heard and self._stt.segments else ""
        self._heard = 0
        self._given.append(asyncio.create_task(self._text(text)))
        return self._given[-1]

    async def _text(self, text: str) -> str:
        await self._stt.ready.wait()
        if self._stt.broken:
            raise TranscriptionError("scripted")
        return text


class FakeStt:
    """Understands the next of `segments` at each pause, once `ready` is set."""

    def __init__(self, *segments: str, partial: str = "") -> None:
        self.segments = list(segments)
        self.partial = partial
        self.samples = 0
        self.broken = False
        self.ready = asyncio.Event()
        self.ready.set()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[FakeListening]:
        yield FakeListening(self)


class FakeChat:
    """Says `deltas`; waits for `go` before the first, fails with `error` after the last."""

    model = "fake"

    def __init__(self, *deltas: str, error: ModelError | None = None) -> None:
        self.deltas = deltas
        self.error = error
        self.go = asyncio.Event()
        self.go.set()
        self.requests: list[ChatRequest] = []
        self.asked = asyncio.Event()
        self.stopped = 0
        """How many streams were left before their end."""

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        self.requests.append(request)
        self.asked.set()
        whole = False
        try:
            yield self._events()
            whole = True
        finally:
            self.stopped += not whole

    async def _events(self) -> AsyncIterator[ChatEvent]:
        await self.go.wait()
        for delta in self.deltas:
            yield Content(delta)
        if self.error:
            raise self.error
        yield Finished("stop")


class FakeTts:
    """Speaks 20 ms a letter; waits for `go` before each sentence."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.said: list[str] = []
        self.voices: list[str] = []
        self.broken = False

    @contextlib.asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[AsyncIterator[Samples]]:
        self.said.append(text)
        self.voices.append(voice)
        yield self._pieces(text)

    async def _pieces(self, text: str) -> AsyncIterator[Samples]:
        if self.broken:
            raise SynthesisError("scripted")
        await self.go.wait()
        for _ in text:
            yield np.full(RATE // 50, 1_000, np.int16)


class FakeConversation:
    def __init__(self, *messages: Message) -> None:
        self.messages = messages

    async def read(self) -> tuple[Message, ...]:
        return self.messages


class FakeUtterance:
    """What the gateway writes, whenever the test says so."""

    def __init__(self, entries: Iterable[TurnInput] = ()) -> None:
        self._entries: asyncio.Queue[TurnInput | None] = asyncio.Queue()
        for entry in entries:
            self.write(entry)

    def write(self, entry: TurnInput | None) -> None:
        self._entries.put_nowait(entry)

    def __aiter__(self) -> "FakeUtterance":
        return self

    async def __anext__(self) -> TurnInput | None:
        return await self._entries.get()


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; fails after 5 s."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0)


async def pass_through_the_loop() -> None:
    """Let everything that is ready happen, and what follows from it."""
    for _ in range(50):
        await asyncio.sleep(0)


class FakeReply:
    """Keeps what is written, and lets a test wait for it."""

    def __init__(self) -> None:
        self.entries: list[TurnReply] = []
        self._changed = asyncio.Condition()

    async def write(self, *entries: TurnReply) -> None:
        async with self._changed:
            self.entries += entries
            self._changed.notify_all()

    async def wait_for(self, kind: type[TurnReply]) -> TurnReply:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: any(isinstance(e, kind) for e in self.entries))
        return next(e for e in self.entries if isinstance(e, kind))
