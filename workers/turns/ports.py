"""What a turn needs from outside, and the values that it hands there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.agent import Lines
from schemas.audio import OpusForm
from schemas.chat import ChatEvent, ChatRequest, Message
from schemas.turn import HEARTBEAT_S, Spoken, TurnReply
from workers.turns.due_first import DueFirst
from workers.turns.prompt import PromptRule
from workers.turns.tool_rounds import NoTools, Toolbox

Samples = NDArray[np.int16]


class Chat(Protocol):
    """A language model."""

    @property
    def model(self) -> str:
        """The name of the model, for the metrics."""

    def stream(self, request: ChatRequest) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
        """Stream a reply; leaving the context stops it upstream. Raises ModelError."""


class Listening(Protocol):
    """One utterance on its way through a speech-to-text engine, in segments."""

    @property
    def partial(self) -> str:
        """What is understood so far of the segment under way."""

    def push(self, samples: Samples) -> None:
        """Take speech, 16 kHz mono; never waits."""

    def finish(self) -> Awaitable[str]:
        """End the segment and return its text; what is pushed next begins another one.

        The await raises TranscriptionError. It may be awaited more than once.
        """


class SpeechToText(Protocol):
    """A speech-to-text engine."""

    def listen(self) -> AbstractAsyncContextManager[Listening]:
        """Open an utterance."""


class TextToSpeech(Protocol):
    """A text-to-speech engine."""

    def speak(self, text: str, voice: str) -> AbstractAsyncContextManager[AsyncIterator[Samples]]:
        """Stream the speech of one sentence, 24 kHz mono. Raises SynthesisError."""


@runtime_checkable
class SpeaksOpus(Protocol):
    """A text-to-speech engine that encodes what it says, outside of this process."""

    def packets(
        self, text: str, voice: str, form: OpusForm, turn: Callable[[], Awaitable[float]]
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """Stream the speech of one sentence. Raises SynthesisError.

        `turn` is awaited before each part of it is made, and returns when that is heard.
        """


class Conversation(Protocol):
    """What was said in the session before this turn."""

    async def read(self) -> tuple[Message, ...]:
        """Return the messages so far, oldest first, without the system prompt."""


class ReplyWriter(Protocol):
    """Where the reply goes."""

    async def write(self, *entries: TurnReply) -> None:
        """Append entries, in order."""


@dataclass(frozen=True)
class Ports:
    """The outside world of one turn."""

    stt: SpeechToText
    chat: Chat
    tts: TextToSpeech
    conversation: Conversation
    reply: ReplyWriter
    tools: Toolbox = field(default_factory=NoTools)
    encoding: DueFirst = field(default_factory=DueFirst)
    """The order in which the turns of one worker encode their speech."""


@dataclass(frozen=True)
class Turn:
    """What is to be done; `greeting` is what a turn of this kind speaks as it stands."""

    turn_id: str
    session_id: str
    attempt: int
    voice: str
    system_prompt: str
    kind: Literal["utterance", "greeting", "reply"] = "utterance"
    greeting: str = ""
    prompt_rule: PromptRule = field(default_factory=PromptRule)
    spoken: tuple[Spoken, ...] = ()
    """What earlier attempts were heard to say, sentence by sentence."""
    lines: Lines = field(default_factory=Lines)
    """What is said when the model cannot speak for itself."""


@dataclass(frozen=True)
class Pace:
    """How long things may take and how often they are told, in seconds."""

    heartbeat_s: float = HEARTBEAT_S
    transcript_s: float = 0.3
    gateway_gone_s: float = 10.0
    max_utterance_s: float = 60.0
    filler_s: float = 2.5
    """How long the first words may take until a filler is said."""
