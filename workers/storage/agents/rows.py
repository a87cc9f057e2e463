"""Agents in the database; each function works inside a transaction of its caller."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, tuple_, update

from schemas.agent import Agent
from schemas.closed import Closed
from workers.storage.tables import agents, from_microseconds, to_microseconds

Position = tuple[int, str]
"""Where a page ends: creation in microseconds since the epoch, and id."""


class StoredAgent(Closed):
    """An agent with its owner and a version that grows by one at each change."""

    account: str
    version: int
    agent: Agent
    occurred_at: datetime | None = None
    """When the newest change that was applied to it came about; None: nobody noted it."""


def find_agent(connection: Connection, agent_id: str) -> StoredAgent | None:
    """Return an agent, or None where there is none of this id."""
    row = connection.execute(select(agents).where(agents.c.id == agent_id)).one_or_none()
    return None if row is None else _stored(row)


def find_agents(connection: Connection, agent_ids: Collection[str]) -> dict[str, StoredAgent]:
    """Return those of these agents that are there, by id."""
    if not agent_ids:
        return {}
    rows = connection.execute(select(agents).where(agents.c.id.in_(agent_ids)))
    return {stored.agent.id: stored for stored in map(_stored, rows)}


def find_agents_to_change(
    connection: Connection, agent_ids: Collection[str]
) -> dict[str, StoredAgent]:
    """Return agents by id; nobody else changes them until the transaction ends."""
    query = select(agents).where(agents.c.id.in_(agent_ids)).order_by(agents.c.id)
    found = (_stored(row) for row in connection.execute(query.with_for_update()))
    return {stored.agent.id: stored for stored in found}


def add_agents(connection: Connection, stored: Sequence[StoredAgent]) -> None:
    """Store agents that are new."""
    if stored:
        connection.execute(insert(agents), [_values(each) for each in stored])


def replace_agents(connection: Connection, stored: Sequence[StoredAgent]) -> None:
    """Store agents in place of those of the same ids."""
    if stored:
        change = update(agents).where(agents.c.id == bindparam("this"))
        connection.execute(change, [{**_values(each), "this": each.agent.id} for each in stored])


def remove_agents(connection: Connection, agent_ids: Collection[str]) -> None:
    """Remove agents."""
    if agent_ids:
        connection.execute(delete(agents).where(agents.c.id.in_(agent_ids)))


def page_of_agents(
    connection: Connection, account: str, limit: int, after: Position | None
) -> list[Agent]:
    """Return up to `limit` agents of an account, newest first, from behind `after` on."""
    query = select(agents).where(agents.c.account == account)
    if after is not None:
        query = query.where(tuple_(agents.c.created_at, agents.c.id) < after)
    query = query.order_by(agents.c.created_at.desc(), agents.c.id.desc()).limit(limit)
    return [_stored(row).agent for row in connection.execute(query)]


def agents_named(connection: Connection, account: str, agent_ids: Collection[str]) -> list[Agent]:
    """Return those of these agents that an account has, newest first."""
    query = select(agents).where(agents.c.id.in_(set(agent_ids)), agents.c.account == account)
    query = query.order_by(agents.c.created_at.desc(), agents.c.id.desc())
    return [_stored(row).agent for row in connection.execute(query)]


def position_of(agent: Agent) -> Position:
    """Return where a page that ends with this agent ends."""
    return to_microseconds(agent.created_at), agent.id


def _values(stored: StoredAgent) -> dict[str, str | int | None]:
    occurred_at = stored.occurred_at
    return {
        "id": stored.agent.id,
        "account": stored.account,
        "version": stored.version,
        "document": stored.agent.model_dump_json(),
        "created_at": to_microseconds(stored.agent.created_at),
        "updated_at": to_microseconds(stored.agent.updated_at),
        "occurred_at": None if occurred_at is None else to_microseconds(occurred_at),
    }


def _stored(row: Row[Sequence[object]]) -> StoredAgent:
    columns = row._mapping  # noqa: SLF001  # SQLAlchemy's documented name for it
    occurred_at = columns["occurred_at"]
    return StoredAgent(
        account=columns["account"],
        version=columns["version"],
        agent=Agent.model_validate_json(columns["document"]),
        occurred_at=None if occurred_at is None else from_microseconds(occurred_at),
    )
