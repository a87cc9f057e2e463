"""Chat completions as OpenAI's API spells them: what is asked, and what is streamed back.

Fields that the API has and this endpoint does not use are let pass, as its clients expect.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from workers.llm_gateway.relay import Tokens

DONE: Final = b"data: [DONE]\n\n"


class Loose(BaseModel):
    """A part of a request; fields that it does not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(Loose):
    """A piece of a message; parts other than text carry no text."""

    type: str = Field(max_length=64)
    text: str | None = None


class ChatMessage(Loose):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[TextPart], Field(max_length=1_000)] | None = None

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content if part.text)
        return self.content or ""


class StreamOptions(Loose):
    """What else is streamed."""

    include_usage: StrictBool | None = None


class Fallback(Loose):
    """A model to ask where the one before it does not begin to answer."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ChatCompletion(Loose):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2_000)]
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    fallbacks: Annotated[list[Fallback], Field(max_length=8)] | None = None

    @property
    def models(self) -> list[str]:
        """The models to ask, in order, each once."""
        fallbacks = self.fallbacks or ()
        return list(dict.fromkeys([self.model, *(fallback.model for fallback in fallbacks)]))

    @property
    def last_said(self) -> str:
        """The words of the last message that a user wrote."""
        users = (message.text for message in reversed(self.messages) if message.role == "user")
        return next(users, "")


class Reply:
    """An answer, written as one completion or as the events of a stream."""

    def __init__(
        self, request: ChatCompletion, text: str, *, model: str, name: str, created: int
    ) -> None:
        self.model = model
        self._request = request
        self._text = text
        self._head = {"id": name, "created": created, "model": model}

    def whole(self) -> dict[str, Any]:
        """Return the completion as one object."""
        message = {"role": "assistant", "content": self._text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self._usage(),
        }

    def events(self) -> Iterator[bytes]:
        """Yield server-sent events: the role, the words one by one, the end, the usage."""
        yield self._event({"role": "assistant", "content": ""})
        for word in pieces(self._text):
            yield self._event({"content": word})
        yield self._event({}, "stop")
        options = self._request.stream_options
        if options is not None and options.include_usage:
            yield self._data({"choices": [], "usage": self._usage()})
        yield DONE

    def _event(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._data({"choices": [choice]})

    def _data(self, body: dict[str, Any]) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", **body}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    @property
    def tokens(self) -> Tokens:
        """Count words: there is no tokenizer where there is no model."""
        asked = sum(len(message.text.split()) for message in self._request.messages)
        return Tokens(asked, len(self._text.split()))

    def _usage(self) -> dict[str, int]:
        used = self.tokens
        return {
            "prompt_tokens": used.prompt,
            "completion_tokens": used.completion,
            "total_tokens": used.prompt + used.completion,
        }


def pieces(text: str) -> list[str]:
    """Cut a text before each word, so that the pieces join to the very same text."""
    cut: list[str] = []
    for word in text.split(" "):
        cut.append(word if not cut else f" {word}")
    return cut
