"""A change to an agent that a REST call waits for, by way of a config event."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog
from celery import Celery
from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.agent import (
    Agent,
    AgentCreate,
    AgentFields,
    AgentUpdate,
    ChangedFields,
    LlmEntry,
    LlmView,
)
from schemas.config_event import (
    AgentChange,
    AgentDelete,
    AgentUpsert,
    Change,
    ConfigResult,
)
from schemas.ids import new_id
from schemas.tool import Tool, ToolView
from workers.gateway.configuring.change_writer import ChangeWriter
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.rest_errors import ApiError, unavailable
from workers.storage.events.inbox import SealedChange

_REFUSALS: Final = {"agent_not_found": 404, "validation_error": 422}

log = structlog.get_logger(__name__)


class AgentChanges:
    """Makes config events and waits for what becomes of them."""

    def __init__(self, sealer: Sealer, writer: ChangeWriter) -> None:
        self._sealer = sealer
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, engine: Engine, redis: "Redis", celery: Celery, sealer: Sealer
    ) -> AsyncIterator["AgentChanges"]:
        """Open it; what it waits for ends with it."""
        async with ChangeWriter.open(engine, redis, celery) as writer:
            yield cls(sealer, writer)

    def stop_waiting(self) -> None:
        """Let every call that waits give up now: its event is withdrawn, its answer a 503."""
        self._writer.stop_waiting()

    async def create(self, account: str, agent: AgentCreate) -> Agent:
        """Store a new agent and return its record.

        Raises ApiError: 4xx where the worker rejects it, 503 where it was not applied within
        5 s and so withdrawn; StorageUnavailableError where it could not even be written down.
        """
        agent_id = new_id("agent")
        fields = {name: getattr(agent, name) for name in AgentFields.model_fields}
        views, keys = await self._seal(account, agent_id, agent.llm)
        tools, values = await self._seal_tools(account, agent_id, agent.tools)
        change = AgentUpsert(
            agent_id=agent_id, account=account, agent=AgentFields(**fields), llm=views, tools=tools
        )
        return _record(await self._settle(change, keys + values))

    async def update(self, account: str, agent_id: str, update: AgentUpdate) -> Agent:
        """Replace fields of an agent and return its record; raises as `create` does."""
        entries, tools = update.entries, update.new_tools
        views, keys = await self._seal(account, agent_id, entries or ())
        tool_views, values = await self._seal_tools(account, agent_id, tools or ())
        change = AgentChange(
            agent_id=agent_id,
            account=account,
            changes=ChangedFields(**update.given()),
            llm=None if entries is None else views,
            tools=None if tools is None else tool_views,
        )
        return _record(await self._settle(change, keys + values))

    async def delete(self, account: str, agent_id: str) -> None:
        """Remove an agent and its keys; raises as `create` does."""
        await self._settle(AgentDelete(agent_id=agent_id, account=account), ())

    async def _seal(
        self, account: str, agent_id: str, entries: Sequence[LlmEntry]
    ) -> tuple[tuple[LlmView, ...], tuple[str, ...]]:
        if not entries:
            return (), ()  # most changes have none, and a thread costs them
        return await asyncio.to_thread(self._sealer.seal, account, agent_id, entries)

    async def _seal_tools(
        self, account: str, agent_id: str, tools: Sequence[Tool]
    ) -> tuple[tuple[ToolView, ...], tuple[str, ...]]:
        if not tools:
            return (), ()
        return await asyncio.to_thread(self._sealer.tools.seal, account, agent_id, tools)

    async def _settle(self, change: Change, sealed: tuple[str, ...]) -> ConfigResult:
        event_id, answer = await self._writer.write(SealedChange(change, sealed))
        result = await answer
        if result is None:
            raise unavailable("what became of the change cannot be found out")
        if result.status == "applied":
            return result
        if result.status == "rejected":
            raise _refusal(result)
        log.warning("config event was not applied in time", event_id=event_id)
        raise unavailable("the change could not be made in time, so nothing was changed")


def _record(result: ConfigResult) -> Agent:
    if result.record is None:
        raise ApiError(404, "agent_not_found", "the agent was deleted meanwhile", "agent_id")
    return result.record


def _refusal(result: ConfigResult) -> ApiError:
    message = result.message or "the change was refused"
    if result.code == "unavailable":
        return unavailable(message)
    code = result.code or "invalid_request"
    shown = f"{result.param}: {message}" if code == "validation_error" else message
    return ApiError(_REFUSALS.get(code, 422), code, shown, param=result.param)
