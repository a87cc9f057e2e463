"""Tool calls that arrive in pieces, put together as the many kinds of server send them: pure."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.chat import ToolCall
from schemas.ids import new_id
from workers.strict_json import whole_text

MAX_CALLS: Final = 16
"""Calls in one reply; what the model asks for beyond is passed over."""
MAX_ARGUMENTS: Final = 8_192
"""Characters of the arguments of one call. One more is kept, so that what is longer shows."""
_MAX_NAME: Final = 64
_MAX_ID: Final = 128


@dataclass
class _Call:
    index: int | None
    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    length: int = 0

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        return self._in_one_way() is not None

    @property
    def content(self) -> tuple[int | None, str, str, str]:
        """What is equal where a server says one call twice."""
        return self.index, self.id, self.name, self._in_one_way() or self.arguments

    def _in_one_way(self) -> str | None:
        """Return the arguments with their JSON spelt in one way, None where they are not whole."""
        try:
            return json.dumps(json.loads(self.arguments), sort_keys=True)
        except (ValueError, RecursionError):
            return None

    def write(self, text: str) -> None:
        text = text[: MAX_ARGUMENTS + 1 - self.length]
        self.length += len(text)
        self.pieces.append(text)


class ToolCallParts:
    """The calls of one reply so far.

    OpenAI sends an index with each piece, id and name with the first. Others send calls whole,
    leave the index or the id out or empty, repeat the name, or give all calls the same index.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._is_full = False

    def add(self, piece: dict[str, Any]) -> None:
        """Take in one element of a delta's `tool_calls`; raises TypeError where it is none."""
        index, call_id = piece.get("index"), piece.get("id") or ""
        function = piece.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments")
        if not isinstance(call_id, str) or not isinstance(name, str):
            raise TypeError("an id or a name is no text")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        text = text if arguments else ""
        place = index if isinstance(index, int) else None
        call = self._find(place, call_id, name, has_arguments=bool(text.strip()))
        if call is None:
            return
        call.id = call.id or call_id[:_MAX_ID]
        call.name = call.name or name[: _MAX_NAME + 1]
        if text:
            call.write(text)

    def whole(self) -> tuple[ToolCall, ...]:
        """Return the calls that have a name, each once, with an id of its own."""
        taken: set[str] = set()
        calls, said = [], set()
        for call in self._calls:
            if not call.name or (call.id and call.content in said):
                continue
            said.add(call.content)
            call.id = whole_text(call.id)
            if not call.id or call.id in taken:
                call.id = new_id("call")
            taken.add(call.id)
            calls.append(ToolCall(call.id, whole_text(call.name), whole_text(call.arguments)))
        return tuple(calls)

    def _find(
        self, index: int | None, call_id: str, name: str, *, has_arguments: bool
    ) -> _Call | None:
        """Return the call that a piece belongs to, a new one where it begins one; None if full."""
        held = self._held(index)
        if held is not None and not _begins_another(
            held, index, call_id, name, has_arguments=has_arguments
        ):
            return held
        if self._is_full or len(self._calls) >= MAX_CALLS:
            self._is_full = True
            return None
        self._calls.append(_Call(index, call_id[:_MAX_ID]))
        return self._calls[-1]

    def _held(self, index: int | None) -> _Call | None:
        """Return the last call of this index; without an index, the last of all."""
        same = [call for call in self._calls if index is None or call.index == index]
        return same[-1] if same else None


def _begins_another(
    held: _Call, index: int | None, call_id: str, name: str, *, has_arguments: bool
) -> bool:
    if call_id and held.id:
        if call_id[:_MAX_ID] != held.id:
            return True
        # Whole arguments have no more: a server has one id for all calls, or says a call again.
        return has_arguments and bool(name) and held.is_whole
    # Without index and id, a name after whole arguments can only be the next call's.
    return index is None and bool(name) and bool(held.name) and held.is_whole
