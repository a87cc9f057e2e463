"""A streamed completion on its way through: pure. Bytes in, the bytes to pass on out.

Up to the first content every event is read. After it only events that carry something the
gateway must know (usage, an error, the end) are read; the rest goes through as it came.
"""

import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from workers.errors import ModelError
from workers.providers.chat_stream import DONE, error_in
from workers.providers.sse import MAX_EVENT_BYTES, SseParser, TooLargeError

MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
_NOTABLE: Final = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:|"object"\s*:\s*"error"|"finish_reason"\s*:\s*"'
    rb"|^data:\s*\[DONE\]",
    re.MULTILINE,
)
_EVENT: Final = re.compile(rb".*?(?:\r\n\r\n|\n\n)", re.DOTALL)
_LONGEST_END: Final = 4
MAX_COUNT: Final = 2**40
CUT_OFF: Final = frozenset({"length", "content_filter"})
"""Reasons to finish that tell the caller why there is nothing: an answer without a word, too."""


@dataclass(frozen=True)
class Tokens:
    """What a request used; `estimated` where the upstream did not say."""

    prompt: int = 0
    completion: int = 0
    estimated: bool = False


class Relay:
    """Takes the bytes of one upstream's stream. Raises ModelError."""

    def __init__(self, *, passes_usage: bool, silent_ends: AbstractSet[str] = CUT_OFF) -> None:
        self._passes_usage = passes_usage
        self._silent_ends = silent_ends
        self._rest = bytearray()
        self._total = 0
        self.has_begun = False
        """True from the first content on: before it another upstream may still answer."""
        self.is_finished = False
        self.is_closed = False
        """True after `[DONE]` or a failure: nothing more is passed on."""
        self._failure: ModelError | None = None
        self.usage: Tokens | None = None
        self.events = 0

    def feed(self, chunk: bytes) -> bytes:
        """Return the whole events that `chunk` completes, as far as they are passed on.

        A failure behind content of an earlier chunk is raised by `end`: what `chunk` holds in
        front of it is passed on.
        """
        self._total += len(chunk)
        if self._total > MAX_STREAM_BYTES:
            raise _too_large("the stream is beyond 8 MB")
        whole = self._whole(chunk)
        if self.is_closed or not whole:
            return b""
        if self.has_begun and not _NOTABLE.search(whole):
            self.events += whole.count(b"data:")
            return whole
        had_begun, passed = self.has_begun, bytearray()
        try:
            for event in _EVENT.findall(whole):
                if self._passes(event):
                    passed += event
        except ModelError as error:
            if not had_begun:
                raise
            self._failure, self.is_closed = error, True
        return bytes(passed)

    def end(self) -> bytes:
        """Judge the end of the stream and return what was left; raises ModelError."""
        left = b"" if self.is_closed or not self._rest else self.feed(b"\n\n")
        if self._failure is not None:
            raise self._failure
        if not self.has_begun:
            raise ModelError("empty", "the model said nothing", retryable=True)
        if not self.is_finished:
            raise ModelError("incomplete", "the answer breaks off", retryable=True)
        return left

    def _whole(self, chunk: bytes) -> bytes:
        before = max(0, len(self._rest) - _LONGEST_END)
        self._rest += chunk
        lf, crlf = self._rest.rfind(b"\n\n", before), self._rest.rfind(b"\r\n\r\n", before)
        cut = max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
        if len(self._rest) - cut > MAX_EVENT_BYTES:
            raise _too_large("an event is beyond 256 kB")
        whole = bytes(self._rest[:cut])
        del self._rest[:cut]
        return whole

    def _passes(self, event: bytes) -> bool:
        try:
            found = SseParser().feed(event)
        except TooLargeError as error:
            raise _too_large(str(error)) from None
        if not found:  # a keep-alive: of use to the client only once it gets a stream at all
            return self.has_begun
        passes = [self._read(data) for data in found]  # each is read, whatever the first says
        return all(passes)

    def _read(self, data: str) -> bool:
        """Learn from an event; tell whether it is passed on."""
        if data == DONE:
            self.is_closed = True
        if self.is_closed:
            return False
        chunk = _parse(data)
        if (error := error_in(chunk, "in the answer")) is not None:
            raise error
        self.events += 1
        choices = chunk.get("choices") or []
        for choice in choices:
            self._read_choice(choice)
        found = tokens_of(chunk.get("usage"))
        self.usage = found or self.usage
        return bool(choices) or found is None or self._passes_usage

    def _read_choice(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            raise _bad_sse()
        if has_answer(choice, "delta", self._silent_ends):
            self.has_begun = True
        if choice.get("finish_reason"):
            self.is_finished = True


def silent_ends_of(asked: Mapping[str, Any]) -> AbstractSet[str]:
    """Return the reasons to finish with which an answer to this request may have no word.

    Models often have nothing to add to what a tool has done, and say so by `stop` alone.
    """
    last = (asked.get("messages") or [{}])[-1]
    return CUT_OFF | {"stop"} if last.get("role") in ("tool", "function") else CUT_OFF


def has_answer(choice: Mapping[str, Any], part: str, silent_ends: AbstractSet[str]) -> bool:
    """Tell whether this part of a choice, `delta` or `message`, says more than a role and blanks.

    A choice that finishes for one of the reasons given is an answer without it, too.
    """
    said = choice.get(part)
    if isinstance(said, dict) and any(_is_said(v) for k, v in said.items() if k != "role"):
        return True
    reason = choice.get("finish_reason")
    return isinstance(reason, str) and reason in silent_ends


def _is_said(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def tokens_of(usage: Any) -> Tokens | None:
    """Return what the `usage` of an answer says; None where it says nothing of use."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    return Tokens(prompt or 0, completion or 0)


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT
    return value if is_count else None


def _parse(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError):
        raise _bad_sse() from None
    if not isinstance(chunk, dict) or not isinstance(chunk.get("choices") or [], list):
        raise _bad_sse()
    return chunk


def _bad_sse() -> ModelError:
    return ModelError("bad_sse", "the stream holds what is no chat completion", retryable=False)


def _too_large(message: str) -> ModelError:
    return ModelError("too_large", message, retryable=False)
