"""Tools that the client runs: it is asked by an event, and its answer goes to the turn."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from schemas.session_events import (
    MAX_EVENT_BYTES,
    SessionError,
    ToolCall,
    ToolResultEvent,
    write_event,
)
from schemas.turn import ToolAsked, ToolResult
from workers.gateway.session.channel import MAX_BAD
from workers.gateway.session.reply import Emit

MAX_RESULT: Final = 8_192
"""Bytes of a result, as for tools that are called by HTTP."""
MAX_KNOWN: Final = 256
"""Calls of a session that are remembered, answered ones included."""
_log = structlog.get_logger(__name__)

Answer = Callable[[ToolResult], bool]
"""Hands a result to the turn; False where the turn is over."""


@dataclass
class _Call:
    answer: Answer
    until: float
    is_answered: bool = False


class ClientCalls:
    """The calls of one session that go to its client."""

    def __init__(self, emit: Emit, is_heard: Callable[[], bool]) -> None:
        """Ask through `emit`, as long as `is_heard`: a client may have no event channel."""
        self._emit = emit
        self._is_heard = is_heard
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._refused = 0

    def ask(self, asked: ToolAsked, answer: Answer) -> None:
        """Ask the client to run a tool, once, however many attempts at the turn ask for it."""
        until = time.monotonic() + asked.timeout_s
        if (known := self._calls.get(asked.call_id)) is not None:
            known.until = until
            return
        call = self._calls[asked.call_id] = _Call(answer, until)
        if len(self._calls) > MAX_KNOWN:
            self._calls.popitem(last=False)
        event = ToolCall(call_id=asked.call_id, name=asked.name, arguments=asked.arguments)
        if not self._is_heard():
            self._settle(asked.call_id, call, "the client has no event channel to run tools with")
        elif len(write_event(event)) > MAX_EVENT_BYTES:
            self._settle(asked.call_id, call, "the arguments are too long for the client")
        else:
            self._emit(event)

    def take(self, event: ToolResultEvent) -> None:
        """Take a result of the client's; what is wrong with it is said, or noted if it is late."""
        call = self._calls.get(event.call_id)
        if call is None:
            self._refuse("there is no such call", "call_id")
        elif call.is_answered:
            self._refuse("the call was answered already", "call_id")
        elif time.monotonic() > call.until:
            call.is_answered = True
            _log.info("a tool's result came too late", call_id=event.call_id)
        elif len(event.result.encode("utf-8", "replace")) > MAX_RESULT:
            self._refuse(f"a result is at most {MAX_RESULT} bytes", "result")
            self._settle(event.call_id, call, f"the result was longer than {MAX_RESULT} bytes")
        else:
            call.is_answered = True
            result = ToolResult(call_id=event.call_id, result=event.result, is_error=event.is_error)
            if not call.answer(result):
                _log.info("a tool's result came after its turn", call_id=event.call_id)

    def _settle(self, call_id: str, call: _Call, why: str) -> None:
        call.is_answered = True
        call.answer(ToolResult(call_id=call_id, result=why, is_error=True))

    def _refuse(self, message: str, param: str) -> None:
        self._refused += 1
        if self._refused > MAX_BAD:
            return
        self._emit(SessionError(code="invalid_value", message=message, param=param))
