"""LLM entries in the database, each with its encrypted key; inside a transaction of the caller."""

from collections.abc import Collection, Sequence
from typing import Final

from pydantic import Field
from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from schemas.closed import Closed
from workers.storage.secret_tables import llm_entries

Place = tuple[str, int]
"""Agent and index of an entry."""


class StoredEntry(Closed):
    """An LLM entry as it is stored."""

    agent_id: str
    entry: int
    account: str
    base_url: str
    model: str
    key_id: str
    """Which key-encryption key its own key is under."""
    api_key: bytes = Field(repr=False)
    """In its envelope."""


ENTRY: Final = [llm_entries.c[name] for name in StoredEntry.model_fields]
"""The columns of a stored entry; the row holds more, about its probes."""


def replace_entries(
    connection: Connection, agent_ids: Collection[str], entries: Sequence[StoredEntry] = ()
) -> None:
    """Store the entries of agents in place of those they had."""
    if agent_ids:
        connection.execute(delete(llm_entries).where(llm_entries.c.agent_id.in_(agent_ids)))
    if entries:
        connection.execute(insert(llm_entries), [entry.model_dump() for entry in entries])


def entries_of_agents(
    connection: Connection, agent_ids: Collection[str]
) -> dict[str, list[StoredEntry]]:
    """Return the entries of agents, by agent, in order; none for an agent that has none."""
    query = select(*ENTRY).where(llm_entries.c.agent_id.in_(agent_ids))
    found: dict[str, list[StoredEntry]] = {}
    for row in connection.execute(query.order_by(llm_entries.c.agent_id, llm_entries.c.entry)):
        entry = entry_of_row(row)
        found.setdefault(entry.agent_id, []).append(entry)
    return found


def entries_of(connection: Connection, agent_id: str) -> list[StoredEntry]:
    """Return the entries of an agent, in order."""
    query = select(*ENTRY).where(llm_entries.c.agent_id == agent_id)
    return [entry_of_row(row) for row in connection.execute(query.order_by(llm_entries.c.entry))]


def entries_under_other_keys(
    connection: Connection, key_id: str, limit: int, after: Place
) -> list[StoredEntry]:
    """Return up to `limit` entries that are not under this key, from behind `after` on."""
    place = tuple_(llm_entries.c.agent_id, llm_entries.c.entry)
    query = (
        select(*ENTRY)
        .where(llm_entries.c.key_id != key_id, place > after)
        .order_by(llm_entries.c.agent_id, llm_entries.c.entry)
        .limit(limit)
    )
    return [entry_of_row(row) for row in connection.execute(query)]


def move_entry(connection: Connection, held: StoredEntry, key_id: str, api_key: bytes) -> bool:
    """Put an entry's key under another one; False where it was changed or removed meanwhile."""
    result = connection.execute(
        update(llm_entries)
        .where(
            llm_entries.c.agent_id == held.agent_id,
            llm_entries.c.entry == held.entry,
            llm_entries.c.api_key == held.api_key,
        )
        .values(key_id=key_id, api_key=api_key)
    )
    return result.rowcount == 1


def count_by_key(connection: Connection) -> dict[str, int]:
    """Return how many entries are under each key."""
    query = select(llm_entries.c.key_id, func.count()).group_by(llm_entries.c.key_id)
    return {str(row[0]): int(row[1]) for row in connection.execute(query)}


def entry_of_row(row: Row[Sequence[object]]) -> StoredEntry:
    """Return the entry of a row with the columns `ENTRY`."""
    return StoredEntry.model_validate(dict(row._mapping))  # noqa: SLF001  # SQLAlchemy's documented name for it
