"""What is asked of a language model and what it streams back."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Message:
    """One message of the conversation as the model sees it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What the model is asked, and the ids that go along so that its owner can trace it."""

    messages: tuple[Message, ...]
    session_id: str
    turn_id: str
    attempt: int


@dataclass(frozen=True)
class Content:
    """A piece of the reply's text, never empty."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The model is done: no more text follows, although the stream may stay open a moment."""

    reason: str


ChatEvent = Content | Finished
