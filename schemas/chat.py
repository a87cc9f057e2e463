"""What is asked of a language model and what it streams back."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from schemas.closed import Closed


@dataclass(frozen=True)
class ToolCall:
    """A call that the model wants made; `arguments` is JSON text as the model wrote it."""

    id: str
    """Unique within a reply of the model; the message with the result names it."""
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One message of the conversation as the model sees it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of the assistant: what it asked for; a message of the role `tool` answers each."""
    tool_call_id: str | None = None
    """Of a tool: which call this is the result of."""


@dataclass(frozen=True)
class ToolRound:
    """What the model wrote before it called tools, and the calls, at least one."""

    text: str
    calls: tuple[ToolCall, ...]
    results: tuple[str | None, ...] = ()
    """What the model is told, call by call; None, or too few, where a call has no result (yet)."""


@dataclass(frozen=True)
class ToolOffer:
    """A tool that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


def to_wire(message: Message) -> dict[str, Any]:
    """Return a message as the endpoint gets it and as the history of a session shows it."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


@dataclass(frozen=True)
class ChatRequest:
    """What the model is asked, and the ids that go along so that its owner can trace it."""

    messages: tuple[Message, ...]
    session_id: str
    turn_id: str
    attempt: int
    tools: tuple[ToolOffer, ...] = ()
    may_call: bool = True
    """False where the model is told of the tools, which it called before, but is to answer now."""
    may_be_silent: bool = False
    """True where the model spoke before it called tools: it may have nothing to add."""


@dataclass(frozen=True)
class Content:
    """A piece of the reply's text, never empty."""

    text: str


@dataclass(frozen=True)
class ToolCallPiece:
    """The model has written a piece of a tool call: a sign of life, `ToolCalls` has them whole."""


@dataclass(frozen=True)
class ToolCalls:
    """The calls that the reply ends with, whole, at least one; comes before `Finished`."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class Finished:
    """The model is done: no more text follows, although the stream may stay open a moment."""

    reason: str


@dataclass(frozen=True)
class Used:
    """What the request took, as the endpoint counts it; comes after `Finished`, if at all."""

    prompt_tokens: int
    completion_tokens: int


class FailedTry(Closed):
    """A try at a model that came to nothing."""

    entry: int | None
    """Its place in the agent's list, from 0; None is the managed model."""
    model: str
    code: str
    """The class of the failure."""
    status_code: int | None = None
    after_ms: float = Field(ge=0)
    """From the start of the try to its end."""


@dataclass(frozen=True)
class Answered:
    """A model has begun to answer; its first words follow."""

    entry: int | None
    """Its place in the agent's list, from 0; None is the managed model."""
    model: str
    tries: int
    """How many requests it took."""
    failures: tuple[FailedTry, ...] = ()


ChatEvent = Answered | Content | ToolCallPiece | ToolCalls | Finished | Used
