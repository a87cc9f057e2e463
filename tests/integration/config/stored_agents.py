"""Agents put into the database the way a config worker does it."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from schemas.agent import AgentCreate, Voice
from schemas.config_event import AgentUpsert
from schemas.ids import new_id
from workers.agent_config.apply import apply_event
from workers.agent_config.opening import Check
from workers.agent_config.settling import Outcome
from workers.agent_config.vault import Vault
from workers.storage.agents.rows import (
    StoredAgent,
)
from workers.storage.database import writing
from workers.storage.events.rows import NewEvent, add_events
from workers.storage.tables import to_microseconds

NOW = datetime(2026, 11, 22, 19, 5, 0, 123456, tzinfo=UTC)


def change(name: str = "a", account: str = "default", agent_id: str | None = None) -> AgentUpsert:
    agent = AgentCreate(name=name, system_prompt="b", voice=Voice(voice_id="ivy"))
    return AgentUpsert(agent_id=agent_id or new_id("agent"), account=account, agent=agent)


def accept(engine: Engine, event: AgentUpsert, *, expires_at: datetime | None = None) -> str:
    event_id = new_id("event")
    with writing(engine) as connection:
        expires = None if expires_at is None else to_microseconds(expires_at)
        accepted = to_microseconds(NOW)
        add_events(connection, [NewEvent(event_id, event, accepted, expires, due_at=accepted)])
    return event_id


def apply_at(
    engine: Engine,
    event_id: str,
    now: datetime,
    vault: Vault | None = None,
    check: Check | None = None,
) -> Outcome | None:
    """Apply an event at a moment at which the clock stands still."""
    return apply_event(engine, event_id, lambda: now, vault, check)


def store(engine: Engine, event: AgentUpsert, now: datetime = NOW) -> StoredAgent:
    outcome = apply_at(engine, accept(engine, event), now)
    assert outcome is not None
    assert outcome[1] is not None
    return outcome[1]
