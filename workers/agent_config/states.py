"""Agents while one transaction changes them: read once, written back once."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from workers.storage.agents.llm_rows import StoredEntry, entries_of_agents, replace_entries
from workers.storage.agents.rows import (
    StoredAgent,
    add_agents,
    find_agents_to_change,
    remove_agents,
    replace_agents,
)
from workers.storage.agents.tool_rows import StoredHeader, headers_of_agents, replace_headers


@dataclass
class AgentState:
    """An agent with its secrets; `stored` None where it is not there, or not any more."""

    was_there: bool
    stored: StoredAgent | None
    entries: list[StoredEntry]
    headers: list[StoredHeader]
    is_changed: bool = False
    has_new_entries: bool = False
    has_new_headers: bool = False


class AgentStates:
    """The agents that a transaction may change, by id; nobody else changes them until it ends."""

    def __init__(self, connection: Connection, agent_ids: Collection[str]) -> None:
        self._connection = connection
        held = find_agents_to_change(connection, agent_ids) if agent_ids else {}
        entries = entries_of_agents(connection, held) if held else {}
        headers = headers_of_agents(connection, held) if held else {}
        self.states = {
            agent_id: AgentState(
                was_there=agent_id in held,
                stored=held.get(agent_id),
                entries=entries.get(agent_id, []),
                headers=headers.get(agent_id, []),
            )
            for agent_id in agent_ids
        }

    def write(self) -> None:
        """Write back what is changed."""
        changed = {key: state for key, state in self.states.items() if state.is_changed}
        new, old = list[StoredAgent](), list[StoredAgent]()
        for state in changed.values():
            if state.stored is not None:
                (old if state.was_there else new).append(state.stored)
        add_agents(self._connection, new)
        replace_agents(self._connection, old)
        gone = [key for key, state in changed.items() if state.stored is None and state.was_there]
        remove_agents(self._connection, gone)
        with_entries = {key: state for key, state in changed.items() if state.has_new_entries}
        replace_entries(
            self._connection,
            [key for key, state in with_entries.items() if state.was_there],
            [entry for state in with_entries.values() for entry in state.entries],
        )
        with_headers = {key: state for key, state in changed.items() if state.has_new_headers}
        replace_headers(
            self._connection,
            [key for key, state in with_headers.items() if state.was_there],
            [header for state in with_headers.values() for header in state.headers],
        )
