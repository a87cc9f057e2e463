"""One entry is asked: once, or once more if it failed before its first word."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from schemas.chat import Answered, ChatEvent, ChatRequest, FailedTry, Finished
from schemas.llm_health import CircuitState
from workers.errors import ModelError
from workers.providers.chat import Budget
from workers.storage.turns.breakers import Breakers
from workers.turns.latencies import Latencies
from workers.turns.ports import Chat
from workers.turns.retrying import UNWELL, pause_before_retry

TRIES: Final = 2
"""How often one entry is asked for one reply, at most."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Entry:
    """A model that may answer."""

    number: int | None
    """Its place in the agent's list, from 0; None is the managed model."""
    model: str
    endpoint: str
    """What its circuit breaker and its latencies go by."""
    open: Callable[[Budget], Awaitable[Chat]]
    """Return it, its key opened now, with these deadlines. Raises ModelError."""
    unwell: frozenset[str] = UNWELL
    """Failures that move its circuit breaker."""


class Tries:
    """The tries for one reply, over all entries."""

    def __init__(self, first_attempt: int) -> None:
        self.count = 0
        self.failures: list[FailedTry] = []
        self._first_attempt = first_attempt

    def begin(self) -> int:
        """Count a try and return its number, as the endpoint is told it."""
        self.count += 1
        return self._first_attempt + self.count - 1

    def failed(self, entry: Entry, error: ModelError, after_s: float = 0.0) -> None:
        """Note what came to nothing."""
        failed = FailedTry(
            entry=entry.number,
            model=entry.model,
            code=error.failure,
            status_code=error.status_code,
            after_ms=round(max(0.0, after_s) * 1000, 3),
        )
        self.failures.append(failed)
        log.info("llm_try_failed", **failed.model_dump(exclude_none=True))


@dataclass(frozen=True)
class Until:
    """Deadlines on the loop's clock, in seconds; both bound every try at the entry."""

    first_token: float
    total: float


class Asking:
    """Asks one entry; what came of it moves its circuit breaker."""

    def __init__(
        self,
        entry: Entry,
        state: CircuitState,
        breakers: Breakers,
        latencies: Latencies,
        tries: Tries,
    ) -> None:
        self.entry = entry
        self._state = state
        self._breakers = breakers
        self._latencies = latencies
        self._tries = tries

    async def events(
        self, request: ChatRequest, budget: Budget, until: Until
    ) -> AsyncGenerator[ChatEvent, None]:
        """Yield `Answered`, then what the model says. Raises ModelError."""
        if self._state == "half_open" and not await self._breakers.may_try(self.entry.endpoint):
            raise self.refusal()
        try:
            async with contextlib.aclosing(self._tried(request, budget, until)) as events:
                async for event in events:
                    yield event
        finally:
            if self._state == "half_open":  # called off, or failed with what says nothing
                await self._breakers.give_back(self.entry.endpoint)

    async def _tried(
        self, request: ChatRequest, budget: Budget, until: Until
    ) -> AsyncGenerator[ChatEvent, None]:
        for further in reversed(range(TRIES)):
            began, has_begun = _now(), False
            try:
                async with contextlib.aclosing(self._once(request, budget, until)) as events:
                    async for event in events:
                        if not has_begun:
                            await self._has_word(_now() - began)
                            yield self._answered()
                        has_begun = True
                        yield event
            except ModelError as error:
                pause_s = pause_before_retry(error, until.first_token - _now())
                await self._failed(error, _now() - began)
                if has_begun or pause_s is None or not further:
                    raise
                await asyncio.sleep(pause_s)
            else:
                return

    def was_late(self, after_s: float) -> None:
        """Note that it had no word after that time, when another answered."""
        self._latencies.add(self.entry.endpoint, after_s)

    def refusal(self) -> ModelError:
        """Return the error of an entry that is not asked because it failed too often."""
        error = ModelError("circuit_open", "the endpoint failed too often", retryable=True)
        self._tries.failed(self.entry, error)
        return error

    async def _once(
        self, request: ChatRequest, budget: Budget, until: Until
    ) -> AsyncGenerator[ChatEvent, None]:
        now = _now()
        left = Budget(
            connect_s=max(0.0, min(budget.connect_s, until.first_token - now)),
            first_token_s=max(0.0, until.first_token - now),
            between_tokens_s=budget.between_tokens_s,
            total_s=max(0.0, until.total - now),
        )
        chat = await self._opened(left, until)
        attempt = self._tries.begin()
        async with chat.stream(replace(request, attempt=attempt)) as events:
            async for event in events:
                if isinstance(event, Finished) and self._state != "closed":
                    await self._breakers.succeeded(self.entry.endpoint)
                yield event

    async def _opened(self, budget: Budget, until: Until) -> Chat:
        try:
            async with asyncio.timeout_at(until.first_token):
                return await self.entry.open(budget)
        except TimeoutError:
            raise ModelError(
                "credentials_unavailable", "the key does not open in time", retryable=True
            ) from None

    def _answered(self) -> Answered:
        tries = self._tries
        entry = self.entry
        return Answered(entry.number, entry.model, tries.count, tuple(tries.failures))

    async def _has_word(self, after_s: float) -> None:
        self._latencies.add(self.entry.endpoint, after_s)
        if self._state == "half_open":
            self._state = "failing"
            await self._breakers.spoke(self.entry.endpoint)

    async def _failed(self, error: ModelError, after_s: float) -> None:
        self._tries.failed(self.entry, error, after_s)
        if error.failure == "timeout_first_token":
            self._latencies.add(self.entry.endpoint, after_s)
        if error.failure in self.entry.unwell:
            self._state = "failing"
            await self._breakers.failed(self.entry.endpoint)


def _now() -> float:
    return asyncio.get_running_loop().time()
