"""The agent of a session as it is now: looked up again when a turn begins."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from schemas.agent import Agent, TurnDetection
from workers.errors import StorageUnavailableError
from workers.gateway.needs import Agents

LOOK_UP_S: Final = 1.0
_log = structlog.get_logger(__name__)


class AgentInForce:
    """Holds the agent as it was last found; whoever decides asks anew each time."""

    def __init__(
        self, agent: Agent, account: str, agents: Agents, changed: Callable[[], None]
    ) -> None:
        self._agent = agent
        self._account = account
        self._agents = agents
        self._changed = changed
        self._is_asked_for = False
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def record(self) -> Agent:
        """The agent that counts from now on."""
        return self._agent

    @property
    def detection(self) -> TurnDetection:
        """When its turns begin and end."""
        return self._agent.input.turn_detection

    def look_again(self) -> None:
        """Look it up in the background, one time after another; what is not found stays."""
        self._is_asked_for = True
        if self._looking is None and not self._is_closed:
            self._looking = asyncio.get_running_loop().create_task(
                self._look(), name=f"look up {self._agent.id}"
            )

    async def _look(self) -> None:
        try:
            while self._is_asked_for:
                self._is_asked_for = False
                found = await self._found()
                if found is not None and found != self._agent:
                    self._agent = found
                    self._changed()
        except Exception:  # noqa: BLE001  # a defect of the look-up must not end the conversation
            _log.exception("look-up of the agent crashed")
        finally:
            self._looking = None

    async def _found(self) -> Agent | None:
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return await self._agents.get(self._agent.id, self._account)
        except (StorageUnavailableError, TimeoutError) as error:
            _log.warning("agent not looked up again", error=type(error).__name__)
            return None

    async def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
