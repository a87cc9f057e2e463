"""A turn with every port played by a fake; nothing in it waits for a clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

from edge.media.opus import OpusEncoder
from schemas.agent import Lines
from schemas.turn import (
    Done,
    End,
    ReplyText,
    Spoken,
    TurnInput,
    TurnReply,
    UserAudio,
)
from tests.fakes.turns import (
    FakeChat,
    FakeConversation,
    FakeReply,
    FakeStt,
    FakeTts,
    FakeUtterance,
)
from workers.errors import ModelError
from workers.turns.ports import Chat, Pace, Ports, Turn
from workers.turns.prompt import PromptRule
from workers.turns.run_turn import run_turn
from workers.turns.timeline import Timeline
from workers.turns.tool_rounds import NoTools, Toolbox

SPEECH = UserAudio(packets=tuple(OpusEncoder().encode(np.zeros(3_200, np.int16))))
Kind = TypeVar("Kind", bound=TurnReply)
UNREACHED = ModelError("disconnected", "scripted", retryable=True)


@dataclass
class Stage:
    """A turn and everything around it."""

    stt: FakeStt = field(default_factory=lambda: FakeStt("hello"))
    chat: FakeChat = field(default_factory=lambda: FakeChat("Hi. ", "How are you?"))
    tts: FakeTts = field(default_factory=FakeTts)
    conversation: FakeConversation = field(default_factory=FakeConversation)
    utterance: FakeUtterance = field(default_factory=FakeUtterance)
    reply: FakeReply = field(default_factory=FakeReply)
    pace: Pace = field(default_factory=Pace)
    attempt: int = 1
    spoken: tuple[Spoken, ...] = ()
    greeting: str | None = None
    lines: Lines = field(default_factory=Lines)
    is_asked_for: bool = False
    prompt_rule: PromptRule = field(default_factory=PromptRule)
    tools: Toolbox = field(default_factory=NoTools)
    real_chat: Chat | None = None
    """Asked in place of the fake."""

    async def run(self) -> str:
        kind: Literal["utterance", "greeting", "reply"]
        kind = "reply" if self.is_asked_for else "utterance"
        turn = Turn(
            turn_id="turn",
            session_id="session",
            attempt=self.attempt,
            voice="ivy",
            system_prompt="Be brief.",
            kind=kind if self.greeting is None else "greeting",
            greeting=self.greeting or "",
            prompt_rule=self.prompt_rule,
            spoken=self.spoken,
            lines=self.lines,
        )
        chat = self.real_chat or self.chat
        ports = Ports(self.stt, chat, self.tts, self.conversation, self.reply, self.tools)
        timeline = Timeline(time.monotonic, 1.0, "fake")
        async with asyncio.timeout(10):
            return await run_turn(turn, self.utterance, ports, timeline, self.pace)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[str]"]:
        task = asyncio.create_task(self.run())
        try:
            yield task
            await task
        finally:
            task.cancel()

    def say(self, *entries: TurnInput) -> None:
        for entry in entries:
            self.utterance.write(entry)

    def of(self, *kinds: type[Kind]) -> list[Kind]:
        return [entry for entry in self.reply.entries if isinstance(entry, kinds)]

    @property
    def texts(self) -> list[str]:
        return [e.text for e in self.of(ReplyText)]

    @property
    def done(self) -> Done:
        (done,) = self.of(Done)
        return done


END = End(silence_ms=600)
