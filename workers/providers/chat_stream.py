"""The chunks of a streamed chat completion, as OpenAI's API spells them: pure."""

import contextlib
import json
from http import HTTPStatus
from typing import Any, Final

from schemas.chat import ChatEvent, Content, Finished, ToolCallPiece, ToolCalls, Used
from workers.errors import ModelError
from workers.providers.chat_tool_calls import ToolCallParts
from workers.providers.sse import SseParser, TooLargeError
from workers.strict_json import whole_text

DONE: Final = "[DONE]"
MOST_TOKENS: Final = 1_000_000_000
_ERRORS: Final = range(400, 600)
_COUNTS: Final = ("prompt_tokens", "completion_tokens")


class ChatStream:
    """Turns the bytes of the stream into what the model says. Raises ModelError."""

    def __init__(self, *, may_be_silent: bool = False) -> None:
        """Take whether a reply that stops without a word is one."""
        self._may_be_silent = may_be_silent
        self._parser = SseParser()
        self._calls = ToolCallParts()
        self._half = ""
        self._blank = ""
        self.has_content = False
        self.is_finished = False
        self.is_closed = False
        """True after `[DONE]` or a failure: nothing more is worth waiting for."""
        self._failure: ModelError | None = None
        self.usage: Used | None = None
        """What the endpoint counted; most say it behind the end of the reply."""

    def feed(self, chunk: bytes) -> list[ChatEvent]:
        """Return what `chunk` completes.

        A failure behind content that was returned before is raised by `end`: what `chunk` holds
        in front of it counts.
        """
        try:
            events = self._parser.feed(chunk)
        except TooLargeError as error:
            raise ModelError("too_large", str(error), retryable=False) from None
        had_content, found = self.has_content, list[ChatEvent]()
        try:
            for data in events:
                found += self._read(data)
        except ModelError as error:
            if not had_content:
                raise
            self._failure, self.is_closed = error, True
        return found

    def end(self) -> None:
        """Judge the end of the stream: raises ModelError if the reply is not whole."""
        if self._failure is not None:
            raise self._failure
        if not self.has_content and not self.is_finished:
            raise ModelError("empty", "the model said nothing", retryable=True)
        if not self.is_finished:
            raise ModelError("incomplete", "the reply breaks off", retryable=True)

    def _read(self, data: str) -> list[ChatEvent]:
        if data == DONE:
            self.is_closed = True
        if self.is_closed:
            return []
        if self.is_finished:
            with contextlib.suppress(ModelError):  # the reply is whole, whatever comes behind it
                *_, usage = _parse(data)
                self.usage = usage or self.usage
            return []
        text, pieces, reason, usage = _parse(data)
        self.usage = usage or self.usage
        events: list[ChatEvent] = []
        if text := self._worth_telling(self._whole(text)):
            events.append(Content(text))
        if pieces:
            self._take(pieces)
            events.append(ToolCallPiece())
        self.has_content = self.has_content or bool(events)
        if reason and (self.has_content or (reason == "stop" and self._may_be_silent)):
            self.is_finished = True
            # Some servers finish with "stop" although there are calls.
            calls = self._calls.whole()
            events += [ToolCalls(calls), Finished(reason)] if calls else [Finished(reason)]
        return events

    def _whole(self, text: str) -> str:
        """Return text without the half of a character at its end, which the next piece ends."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole_text(text.removesuffix(self._half))

    def _worth_telling(self, text: str) -> str:
        """Return text, with the blanks before it; before the first word blanks are no content."""
        text = self._blank + text
        self._blank = "" if self.has_content or text.strip() else text
        return text.removeprefix(self._blank)

    def _take(self, pieces: list[Any]) -> None:
        try:
            for piece in pieces:
                self._calls.add(piece)
        except (AttributeError, TypeError):
            raise _bad_sse() from None


def _parse(data: str) -> tuple[str, list[Any], str | None, Used | None]:
    """Return a chunk's text, pieces of tool calls, why it is the last, if it is, and its usage."""
    try:
        chunk = json.loads(data)
        if (error := error_in(chunk, "in the stream")) is not None:
            raise error
        choices = chunk.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        text = delta.get("content") or ""
        pieces = delta.get("tool_calls") or []
        reason = choices[0].get("finish_reason")
        usage = chunk.get("usage")
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise _bad_sse() from None
    if not (isinstance(text, str) and isinstance(pieces, list) and isinstance(reason, str | None)):
        raise _bad_sse()
    return text, pieces, reason, _used(usage) if usage else None


def _used(usage: Any) -> Used | None:
    """Read what the endpoint counted; nonsense there is no reason to lose the reply."""
    counts = [usage.get(name) for name in _COUNTS] if isinstance(usage, dict) else [None]
    if not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts):
        return None
    return Used(*counts)


def _bad_sse() -> ModelError:
    return ModelError("bad_sse", "the stream holds what is no chat completion", retryable=False)


def error_in(said: Any, where: str) -> ModelError | None:
    """Return the error that came although the status said 200, with none of its words, if any."""
    if not isinstance(said, dict) or not (said.get("error") or said.get("object") == "error"):
        return None
    error = said.get("error") or said
    told = (
        [error.get(name) for name in ("code", "status", "type")] if isinstance(error, dict) else []
    )
    for status in filter(None, map(_status, told)):
        return status_error(status, where)
    return ModelError("http_5xx", f"an error {where}", retryable=True)


def _status(told: Any) -> int | None:
    """Return the status of an error that a server's word for it stands for."""
    if isinstance(told, str) and told.startswith("rate_limit"):
        return HTTPStatus.TOO_MANY_REQUESTS
    with contextlib.suppress(ValueError):
        if isinstance(told, int | str) and int(told) in _ERRORS:
            return int(told)
    return None


def status_error(
    status: int, where: str = "of the endpoint", *, retry_after_s: float | None = None
) -> ModelError:
    """Return the error for an HTTP status; its message holds nothing that the endpoint said."""
    message = f"status {status} {where}"
    if status < HTTPStatus.BAD_REQUEST:
        message += ": redirects are not followed"
        return ModelError("http_3xx", message, retryable=False, status_code=status)
    is_busy = status == HTTPStatus.TOO_MANY_REQUESTS
    if not is_busy and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ModelError("http_4xx", message, retryable=False, status_code=status)
    return ModelError(
        "http_429" if is_busy else "http_5xx",
        message,
        retryable=True,
        status_code=status,
        retry_after_s=retry_after_s,
    )
