"""A model that calls tools by a script, and a toolbox that notes what it is asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from schemas.chat import (
    ChatEvent,
    ChatRequest,
    Content,
    Finished,
    ToolCall,
    ToolCalls,
    ToolOffer,
    ToolRound,
)
from schemas.turn import ToolResult
from tests.fakes.turns import FakeChat
from workers.errors import ModelError
from workers.turns.tool_rounds import Tell

OFFER = ToolOffer("weather", "Tells it.", {"type": "object"})


def calls(*names: str, text: str = "") -> ToolRound:
    """Return a round that calls these, by ids that follow from their place."""
    return ToolRound(text, tuple(ToolCall(f"c{n}", name, "{}") for n, name in enumerate(names)))


class CallingChat(FakeChat):
    """Answers the nth request with the nth of `rounds`, the last one again and again."""

    def __init__(self, *rounds: ToolRound | str | ModelError) -> None:
        super().__init__()
        self.rounds = rounds

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        place = min(len(self.requests), len(self.rounds) - 1)
        async with super().stream(request):
            yield self._say(self.rounds[place])

    async def _say(self, what: ToolRound | str | ModelError) -> AsyncIterator[ChatEvent]:
        await self.go.wait()
        if isinstance(what, ModelError):
            raise what
        text = what if isinstance(what, str) else what.text
        if text:
            yield Content(text)
        elif isinstance(what, str):
            raise ModelError("empty", "scripted", retryable=True)
        if isinstance(what, ToolRound):
            yield ToolCalls(what.calls)
        yield Finished("stop")


class FakeToolbox:
    """Answers each call with its name, once `go` is set; `made` are those that began."""

    def __init__(self, past: Sequence[ToolRound] = ()) -> None:
        self.offers = (OFFER,)
        self.past = tuple(past)
        self.made: list[tuple[int, int, str]] = []
        self.begun: list[ToolRound] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    async def rounds(self) -> tuple[ToolRound, ...]:
        return self.past

    async def begin(self, _number: int, calls: ToolRound) -> ToolRound:
        self.begun.append(calls)
        return calls

    async def call(self, number: int, index: int, call: ToolCall, _tell: Tell) -> str:
        self.made.append((number, index, call.name))
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"{call.name} answers"

    def deliver(self, result: ToolResult) -> None:
        """Drop it."""
