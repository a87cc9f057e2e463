"""Where a session, a turn and a REST call find an agent."""

import asyncio
from collections.abc import Collection
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.agent import Agent
from workers.errors import StorageUnavailableError
from workers.storage.agents.copies import (
    STORE_COPY,
    copy_arguments,
    copy_key,
    is_fresh,
    read_copy,
)
from workers.storage.agents.rows import (
    Position,
    StoredAgent,
    agents_named,
    find_agent,
    page_of_agents,
)
from workers.storage.database import reading

OLD_COPY_S: Final = 0.5
"""How long the database has before an older copy serves; a turn gives both of them a second."""

log = structlog.get_logger(__name__)


class AgentStore:
    """Reads agents: the copy in Redis first, then the database, on a thread of its own.

    A copy older than 30 s is looked up again; while the database is away, or hangs, it
    serves for a day.
    """

    def __init__(self, engine: Engine, redis: "Redis") -> None:
        self._engine = engine
        self._redis = redis

    async def get(self, agent_id: str, account: str | None = None) -> Agent | None:
        """Return an agent, or None where there is none (or another account owns it).

        Raises StorageUnavailableError where neither Redis nor the database knows.
        """
        stored = await self._find(agent_id)
        if stored is None or account not in (None, stored.account):
            return None
        return stored.agent

    async def page(self, account: str, limit: int, after: Position | None) -> list[Agent]:
        """Return up to `limit` agents of an account, newest first; raises as `get` does."""
        return await asyncio.to_thread(self._page, account, limit, after)

    async def named(self, account: str, agent_ids: Collection[str]) -> list[Agent]:
        """Return those of these agents that an account has, newest first; raises as `get` does."""
        return await asyncio.to_thread(self._named, account, agent_ids)

    async def _find(self, agent_id: str) -> StoredAgent | None:
        copy, fresh = await self._copy(agent_id)
        if copy is not None and fresh:
            return copy
        try:
            async with asyncio.timeout(None if copy is None else OLD_COPY_S):
                stored = await asyncio.to_thread(self._row, agent_id)
        except (StorageUnavailableError, TimeoutError):
            if copy is None:
                raise
            log.warning("the database is away; an older copy serves", agent_id=agent_id)
            return copy
        await self._keep(agent_id, stored, had_copy=copy is not None)
        return stored

    async def _copy(self, agent_id: str) -> tuple[StoredAgent | None, bool]:
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hget(copy_key(agent_id), "body")
                pipe.ttl(copy_key(agent_id))
                body, remaining = await pipe.execute()
        except RedisError as error:
            log.warning("Redis is away; the database answers", error=type(error).__name__)
            return None, False
        return read_copy(body), is_fresh(remaining)

    async def _keep(self, agent_id: str, stored: StoredAgent | None, *, had_copy: bool) -> None:
        try:
            if stored is not None:
                await self._redis.eval(STORE_COPY, 1, copy_key(agent_id), *copy_arguments(stored))
            elif had_copy:
                await self._redis.delete(copy_key(agent_id))
        except RedisError as error:
            log.warning("no copy of the agent was kept", error=type(error).__name__)

    def _row(self, agent_id: str) -> StoredAgent | None:
        with reading(self._engine) as connection:
            return find_agent(connection, agent_id)

    def _named(self, account: str, agent_ids: Collection[str]) -> list[Agent]:
        with reading(self._engine) as connection:
            return agents_named(connection, account, agent_ids)

    def _page(self, account: str, limit: int, after: Position | None) -> list[Agent]:
        with reading(self._engine) as connection:
            return page_of_agents(connection, account, limit, after)
