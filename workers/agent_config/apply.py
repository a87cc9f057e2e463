"""What it means to apply a config event: once, whole, or not at all."""

from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from schemas.agent import Agent
from schemas.config_event import AgentUpsert, ConfigResult
from workers.errors import EdgewiseError
from workers.storage.agent_rows import StoredAgent, find_agent, put_agent
from workers.storage.config_events import ConfigEvent, find_event, settle_event
from workers.storage.database import writing


class ChangeRefusedError(EdgewiseError):
    """The event cannot be applied, now or later; the message is for the one who sent it."""

    code = "invalid_request"


def apply_event(
    engine: Engine, event_id: str, now: datetime
) -> tuple[ConfigResult, StoredAgent | None] | None:
    """Apply a pending event in one transaction; return its result and the agent as stored.

    None where there is nothing to do: no such event, settled already, or its time is up.
    Raises StorageUnavailableError, and then nothing happened.
    """
    try:
        with writing(engine) as connection:
            stored = _apply(connection, event_id, now)
    except ChangeRefusedError as refusal:
        return _refuse(engine, event_id, now, str(refusal))
    if stored is None:
        return None
    return ConfigResult(event_id=event_id, status="applied", record=stored.agent), stored


def _apply(connection: Connection, event_id: str, now: datetime) -> StoredAgent | None:
    if not settle_event(connection, event_id, "applied", now=now):
        return None
    event = _read(connection, event_id)
    held = find_agent(connection, event.change.agent_id)
    if held is not None and held.account != event.change.account:
        raise ChangeRefusedError("there is no such agent")
    agent = build_agent(event.change, created_at=event.accepted_at, updated_at=event.accepted_at)
    return put_agent(connection, event.change.account, agent)


def build_agent(change: AgentUpsert, *, created_at: datetime, updated_at: datetime) -> Agent:
    """Return the record that a change describes."""
    fields = change.agent.model_dump()
    return Agent(id=change.agent_id, created_at=created_at, updated_at=updated_at, **fields)


def _read(connection: Connection, event_id: str) -> ConfigEvent:
    try:
        event = find_event(connection, event_id)
    except ValidationError:
        # No cause attached: pydantic's message holds what was sent.
        raise ChangeRefusedError("the event has a form that this release cannot read") from None
    if event is None:
        raise ChangeRefusedError("there is no such event")
    return event


def _refuse(
    engine: Engine, event_id: str, now: datetime, message: str
) -> tuple[ConfigResult, None] | None:
    with writing(engine) as connection:
        if not settle_event(connection, event_id, "rejected", now=now, message=message):
            return None
    return ConfigResult(event_id=event_id, status="rejected", message=message), None
