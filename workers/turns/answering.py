"""Which of several models answers: they are asked in order until one has a first word."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from schemas.chat import ChatEvent, ChatRequest
from workers.errors import ModelError
from workers.providers.chat import Budget
from workers.storage.turns.breakers import Breakers
from workers.turns.asking import Asking, Entry, Tries, Until
from workers.turns.latencies import Latencies

Entries = Callable[[], Awaitable[list[Entry]]]
"""Returns the entries as they are stored at this moment, in order. Raises ModelError."""


@dataclass(frozen=True)
class AnsweringRule:
    """How long an entry has while a further one is left, and when two are asked at once."""

    next_entry_s: float = 2.5
    """To its first word, in seconds."""
    hedging: bool = False
    """Ask the next entry, too, when one is later than its own 95th percentile."""


class Answering:
    """The models of one agent as one: the port `Chat` with a choice behind it.

    Before the first word the next entry takes over; after it nothing is asked again.
    """

    def __init__(
        self,
        model: str,
        entries: Entries,
        budget: Budget,
        rule: AnsweringRule,
        *,
        breakers: Breakers,
        latencies: Latencies,
    ) -> None:
        self.model = model
        self._entries = entries
        self._budget = budget
        self._rule = rule
        self._breakers = breakers
        self._latencies = latencies

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        """Stream a reply, `Answered` first; leaving the context closes every connection at once."""
        tries = Tries(request.attempt)
        async with contextlib.aclosing(self._told(request, tries)) as events:
            yield events

    async def _told(self, request: ChatRequest, tries: Tries) -> AsyncGenerator[ChatEvent, None]:
        """Yield the events; an error tells what was tried since the last of them."""
        told = 0
        try:
            async with contextlib.aclosing(self._events(request, tries)) as events:
                async for event in events:
                    yield event
                    told = told or tries.count
        except ModelError as error:
            error.tries = tries.count - told
            error.failures = tuple(tries.failures[-1:] if told else tries.failures)
            raise

    async def _events(self, request: ChatRequest, tries: Tries) -> AsyncGenerator[ChatEvent, None]:
        end = _now() + self._budget.total_s
        waiting = await self._to_ask(tries)
        async with _Race() as race:
            while (winner := await race.next(self._patience_s(race, waiting))) is None:
                if not waiting:
                    raise race.error
                asking = waiting.pop(0)
                until = Until(self._first_token_by(end, further=bool(waiting)), end)
                race.enter(asking, asking.events(request, self._budget, until))
            yield winner.first
            async for event in winner.events:
                yield event

    async def _to_ask(self, tries: Tries) -> list[Asking]:
        """Return what is to be asked, without those whose circuit breaker is open."""
        entries = await self._entries()
        states = await self._breakers.states([entry.endpoint for entry in entries])
        to_ask, refusal = [], None
        for entry, state in zip(entries, states, strict=True):
            asking = Asking(entry, state, self._breakers, self._latencies, tries)
            if state != "open":
                to_ask.append(asking)
            else:
                refusal = asking.refusal()
        if refusal is not None and not to_ask:
            raise refusal
        return to_ask

    def _first_token_by(self, end: float, *, further: bool) -> float:
        first_token_s = self._budget.first_token_s
        if further:
            first_token_s = min(first_token_s, self._rule.next_entry_s)
        return min(end, _now() + first_token_s)

    def _patience_s(self, race: "_Race", waiting: list[Asking]) -> float | None:
        """Return how long to wait before the next entry is asked, too; None: it is not."""
        if not self._rule.hedging or not waiting or len(race.runners) != 1:
            return None
        (runner,) = race.runners
        usual_s = self._latencies.p95(runner.endpoint)
        return None if usual_s is None else max(0.0, runner.began + usual_s - _now())


class _Runner:
    """An entry under way to its first event."""

    def __init__(self, asking: Asking, events: AsyncGenerator[ChatEvent, None]) -> None:
        self.endpoint = asking.entry.endpoint
        self.asking = asking
        self.events = events
        self.began = _now()
        self.task = asyncio.create_task(_first(events), name="llm-first-word")

    @property
    def first(self) -> ChatEvent:
        """Its first event."""
        return self.task.result()


class _Race:
    """Entries under way at the same time; the first to say something wins, the others stop."""

    def __init__(self) -> None:
        self.runners: list[_Runner] = []
        self.error = ModelError("empty", "there is no model to ask", retryable=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop(self.runners)

    def enter(self, asking: Asking, events: AsyncGenerator[ChatEvent, None]) -> None:
        """Start an entry."""
        self.runners.append(_Runner(asking, events))

    async def next(self, patience_s: float | None) -> _Runner | None:
        """Return the winner; None when nobody runs any more, or none won in `patience_s`."""
        while self.runners:
            done, _ = await asyncio.wait(
                [runner.task for runner in self.runners],
                timeout=patience_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                return None
            for runner in [runner for runner in self.runners if runner.task in done]:
                error = runner.task.exception()
                if error is None:
                    await self._won_by(runner)
                    return runner
                if not isinstance(error, ModelError):
                    raise error
                self.error = error
                self.runners.remove(runner)
        return None

    async def _won_by(self, winner: _Runner) -> None:
        """Stop the others; how late one was that began before the winner counts as its time."""
        losers = [runner for runner in self.runners if runner is not winner]
        for loser in losers:
            if loser.began < winner.began:
                loser.asking.was_late(_now() - loser.began)
        await self._stop(losers)

    async def _stop(self, runners: list[_Runner]) -> None:
        """Close their connections."""
        for runner in runners:
            runner.task.cancel()
        await asyncio.gather(*(runner.task for runner in runners), return_exceptions=True)
        for runner in runners:
            await runner.events.aclose()
        self.runners = [runner for runner in self.runners if runner not in runners]


async def _first(events: AsyncGenerator[ChatEvent, None]) -> ChatEvent:
    return await anext(events)


def _now() -> float:
    return asyncio.get_running_loop().time()
