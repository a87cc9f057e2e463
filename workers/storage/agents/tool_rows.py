"""Headers of HTTP tools in the database, each value encrypted; in a transaction of the caller."""

from collections.abc import Collection, Sequence

from pydantic import Field
from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from schemas.closed import Closed
from workers.storage.agents.llm_rows import Place
from workers.storage.secret_tables import tool_headers


class StoredHeader(Closed):
    """A header as it is stored; `entry` counts the headers of all tools of an agent."""

    agent_id: str
    entry: int
    account: str
    tool: str
    name: str
    url: str
    key_id: str
    """Which key-encryption key its value is under."""
    value: bytes = Field(repr=False)
    """In its envelope."""


def replace_headers(
    connection: Connection, agent_ids: Collection[str], headers: Sequence[StoredHeader] = ()
) -> None:
    """Store the headers of the tools of agents in place of those they had."""
    if agent_ids:
        connection.execute(delete(tool_headers).where(tool_headers.c.agent_id.in_(agent_ids)))
    if headers:
        connection.execute(insert(tool_headers), [header.model_dump() for header in headers])


def headers_of_agents(
    connection: Connection, agent_ids: Collection[str]
) -> dict[str, list[StoredHeader]]:
    """Return the headers of all tools of agents, by agent, in order."""
    query = select(tool_headers).where(tool_headers.c.agent_id.in_(agent_ids))
    found: dict[str, list[StoredHeader]] = {}
    for row in connection.execute(query.order_by(tool_headers.c.agent_id, tool_headers.c.entry)):
        header = _stored(row)
        found.setdefault(header.agent_id, []).append(header)
    return found


def headers_of(connection: Connection, agent_id: str, tool: str) -> list[StoredHeader]:
    """Return the headers of a tool, in order."""
    query = select(tool_headers).where(
        tool_headers.c.agent_id == agent_id, tool_headers.c.tool == tool
    )
    return [_stored(row) for row in connection.execute(query.order_by(tool_headers.c.entry))]


def headers_under_other_keys(
    connection: Connection, key_id: str, limit: int, after: Place
) -> list[StoredHeader]:
    """Return up to `limit` headers that are not under this key, from behind `after` on."""
    place = tuple_(tool_headers.c.agent_id, tool_headers.c.entry)
    query = (
        select(tool_headers)
        .where(tool_headers.c.key_id != key_id, place > after)
        .order_by(tool_headers.c.agent_id, tool_headers.c.entry)
        .limit(limit)
    )
    return [_stored(row) for row in connection.execute(query)]


def move_header(connection: Connection, held: StoredHeader, key_id: str, value: bytes) -> bool:
    """Put a value under another key; False where it was changed or removed meanwhile."""
    result = connection.execute(
        update(tool_headers)
        .where(
            tool_headers.c.agent_id == held.agent_id,
            tool_headers.c.entry == held.entry,
            tool_headers.c.value == held.value,
        )
        .values(key_id=key_id, value=value)
    )
    return result.rowcount == 1


def count_headers_by_key(connection: Connection) -> dict[str, int]:
    """Return how many values are under each key."""
    query = select(tool_headers.c.key_id, func.count()).group_by(tool_headers.c.key_id)
    return {str(row[0]): int(row[1]) for row in connection.execute(query)}


def _stored(row: Row[Sequence[object]]) -> StoredHeader:
    return StoredHeader.model_validate(dict(row._mapping))  # noqa: SLF001  # SQLAlchemy's documented name for it
