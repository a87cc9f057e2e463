"""Keeps the turns of all workers from waiting for a speech engine that is known to be dead."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from schemas.llm_health import CircuitState
from workers.providers.speech.speech_endpoint import EndpointError, SpeechEndpoint
from workers.storage.turns.breakers import BreakerRule, Breakers, endpoint_name

ENGINE_RULE: Final = BreakerRule(failures=2, open_s=10.0, longest_s=300.0)
"""Each try that fails costs a user the deadline, so they become rarer."""


class EngineBreaker:
    """The circuit breaker of one endpoint, which the workers share."""

    def __init__(self, breakers: Breakers, endpoint: SpeechEndpoint) -> None:
        self._breakers = breakers
        self._name = engine_name(endpoint)
        self._state: CircuitState = "closed"

    @property
    def is_open(self) -> bool:
        """Whether the engine was to be left alone when this process last asked or looked."""
        return self._state == "open"

    async def look(self) -> None:
        """Learn what other workers have found out meanwhile."""
        (self._state,) = await self._breakers.states([self._name])

    async def may_ask(self) -> bool:
        """Tell whether to ask the engine; of those who come when its time is up, one may."""
        await self.look()
        if self._state == "half_open" and not await self._breakers.may_try(self._name):
            self._state = "open"
        return self._state != "open"

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[bool]:
        """Yield whether to ask the engine; a trial that is called off leaves it to the next."""
        may_ask = await self.may_ask()
        is_trial = may_ask and self._state == "half_open"
        try:
            yield may_ask
        finally:
            if is_trial:  # with its outcome known, this changes nothing
                await self._breakers.give_back(self._name)

    async def succeeded(self) -> None:
        """Close it."""
        if self._state != "closed":
            await self._breakers.succeeded(self._name)
            self._state = "closed"

    async def failed(self, error: EndpointError, *, for_good: bool = False) -> None:
        """Count a failure unless one user can bring it about; `for_good` opens it at the first."""
        if error.is_of_one_user and not for_good:
            return
        await self._breakers.failed(self._name, for_good=for_good)
        await self.look()


def engine_name(endpoint: SpeechEndpoint) -> str:
    """Name the endpoint for `Breakers`; it is the operator's own."""
    return endpoint_name(None, endpoint.base_url, endpoint.model)
