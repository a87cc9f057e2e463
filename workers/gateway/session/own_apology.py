"""The apology of a session's agent, in its own words and voice: read ahead of every failure."""

import asyncio
from typing import Final

import structlog
from redis.exceptions import RedisError

from schemas.apology import BUILT_IN, Apology, wording_of
from workers.gateway.needs import Apologies
from workers.gateway.session.agent_in_force import AgentInForce
from workers.gateway.session.apology import built_in

READ_S: Final = 1.0
_log = structlog.get_logger(__name__)


class OwnApology:
    """Holds the apology as it was last found: what fails may be Redis, or all of the workers."""

    def __init__(self, agent: AgentInForce, kept: Apologies) -> None:
        self._agent = agent
        self._kept = kept
        self._held: Apology | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def current(self) -> Apology:
        """What to say now: of an agent with words or a voice of its own, an older line will do."""
        if self._held is None:
            return built_in()
        is_plain = wording_of(self._agent.record) == BUILT_IN
        return built_in() if is_plain and not self._fits(self._held) else self._held

    def _fits(self, held: Apology) -> bool:
        return held.wording == wording_of(self._agent.record)

    def look(self) -> None:
        """Read it in the background, unless it is here; what is not found stays as it was."""
        if self._held is not None and self._fits(self._held):
            return
        if self._looking is None and not self._is_closed:
            self._looking = asyncio.get_running_loop().create_task(
                self._look(), name=f"read the apology of {self._agent.record.id}"
            )

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(READ_S):
                self._held = await self._kept.read(self._agent.record.id) or self._held
        except (RedisError, TimeoutError, ValueError) as error:
            _log.warning("apology of the agent not read", error=type(error).__name__)
        finally:
            self._looking = None

    async def close(self) -> None:
        """Read no more."""
        self._is_closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
