"""Asking the model, and calling tools for it, until it has said all that it wants to say.

A guess at the reply may ask the model and be thrown away; tools are called only once the user
is known to be done. What is about to be called is on record before it is called, so that a
further attempt at the turn goes on from there and calls nothing a second time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from schemas.chat import ChatRequest, Message, ToolCall, ToolOffer, ToolRound
from schemas.ids import new_id
from schemas.turn import ToolAsked, ToolResult
from workers.errors import REFUSED, ModelError
from workers.turns.filler import Filler

MAX_ROUNDS: Final = 8
"""How often a model may call tools in one reply; then it is asked to call none."""
NO_RESULT: Final = '{"error": "the call was broken off; whether it took effect is not known"}'

Tell = Callable[[ToolAsked], Awaitable[None]]


class Toolbox(Protocol):
    """The tools of an agent in one turn."""

    @property
    def offers(self) -> tuple[ToolOffer, ...]:
        """What the model is told of them."""

    async def rounds(self) -> tuple[ToolRound, ...]:
        """Return the rounds that earlier attempts at the turn put on record."""

    async def begin(self, number: int, calls: ToolRound) -> ToolRound:
        """Put a round on record and return it; the other where one of this number is there."""

    async def call(self, number: int, index: int, call: ToolCall, tell: Tell) -> str:
        """Make a call of a round and return what the model is told of it, failures included.

        Only what is idempotent is done again where another attempt has begun it; what it
        has finished has the result that it had. `tell` reaches the client.
        """

    def deliver(self, result: ToolResult) -> None:
        """Take in what the client's tool has answered; one that nobody waits for is dropped."""


class NoTools:
    """The toolbox of an agent without tools: a call that the model makes up finds nothing."""

    offers: tuple[ToolOffer, ...] = ()

    async def rounds(self) -> tuple[ToolRound, ...]:
        """Return nothing."""
        return ()

    async def begin(self, _number: int, calls: ToolRound) -> ToolRound:
        """Return it as it is."""
        return calls

    async def call(self, _number: int, _index: int, _call: ToolCall, _tell: Tell) -> str:
        """Say that there is no such tool."""
        return '{"error": "there are no tools"}'

    def deliver(self, _result: ToolResult) -> None:
        """Drop it."""


class Model(Protocol):
    """The model, and the user's ear for what it writes."""

    async def ask(self, request: ChatRequest) -> ToolRound | None:
        """Have what it writes said; return what it calls, None where it calls nothing.

        Raises ModelError.
        """

    async def repeat(self, text: str) -> None:
        """Have said what an earlier attempt wrote."""

    @property
    def has_written(self) -> bool:
        """True once there were words to say."""


class ToolRounds:
    """The rounds of one reply."""

    def __init__(
        self, tools: Toolbox, model: Model, confirmed: asyncio.Event, filler: Filler, tell: Tell
    ) -> None:
        """Take `confirmed`, set once the user is done, and what is said while tools are slow."""
        self._tools = tools
        self._model = model
        self._confirmed = confirmed
        self._filler = filler
        self._tell = tell

    async def run(self, request: ChatRequest) -> None:
        """Ask until the model calls nothing more; raises ModelError."""
        past = await self._tools.rounds() if request.attempt > 1 else ()
        request = replace(request, tools=self._tools.offers)
        for number in range(MAX_ROUNDS):
            if number < len(past):
                calls = past[number]
                await self._model.repeat(calls.text)
            elif (asked := await self._ask(request, number)) is not None:
                calls = asked
            else:
                return
            request = await self._answer(request, number, calls)
        # Some endpoints refuse calls in messages without tools; others do not know `tool_choice`.
        try:
            if await self._ask(replace(request, may_call=False), MAX_ROUNDS) is None:
                return
        except ModelError as error:
            if error.status_code not in REFUSED:
                raise
        if await self._ask(replace(request, tools=()), MAX_ROUNDS) is None:
            return
        raise ModelError("too_many_rounds", "the model calls tools without end", retryable=False)

    async def _ask(self, request: ChatRequest, number: int) -> ToolRound | None:
        # A model that had its say before the calls may have nothing to add to their results.
        may_be_silent = number > 0 and self._model.has_written
        try:
            return await self._model.ask(replace(request, may_be_silent=may_be_silent))
        except ModelError as error:
            if error.failure == "empty" and may_be_silent:
                return None
            raise

    async def _answer(self, request: ChatRequest, number: int, calls: ToolRound) -> ChatRequest:
        """Make the calls of a round, side by side; return the request that tells their results."""
        await self._confirmed.wait()
        calls = await self._tools.begin(number, _with_new_names(request.messages, calls))
        async with self._filler.over(), asyncio.TaskGroup() as group:
            running = [
                group.create_task(
                    self._tools.call(number, index, call, self._tell), name=f"tool {call.name}"
                )
                for index, call in enumerate(calls.calls)
            ]
        answered = replace(calls, results=tuple(task.result() for task in running))
        return replace(request, messages=(*request.messages, *told(answered, answered.text)))


def _with_new_names(messages: tuple[Message, ...], calls: ToolRound) -> ToolRound:
    """Return the round with ids that the conversation does not have: some servers count from 0."""
    taken = {call.id for message in messages for call in message.tool_calls}
    return replace(
        calls,
        calls=tuple(
            replace(call, id=new_id("call")) if call.id in taken else call for call in calls.calls
        ),
    )


def told(calls: ToolRound, text: str = "") -> tuple[Message, ...]:
    """Return a round as the model sees it: its calls, and the result of each."""
    results = (*calls.results, *[None] * len(calls.calls))
    return (
        Message("assistant", text, tool_calls=calls.calls),
        *(
            Message("tool", NO_RESULT if result is None else result, tool_call_id=call.id)
            for call, result in zip(calls.calls, results, strict=False)
        ),
    )
