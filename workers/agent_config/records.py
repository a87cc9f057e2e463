"""The record of an agent as a change leaves it."""

from datetime import datetime, timedelta

from schemas.agent import Agent, AgentFields
from schemas.config_event import AgentChange, AgentUpsert


def build_agent(change: AgentUpsert, held: Agent | None, accepted_at: datetime) -> Agent:
    """Return the record that a change describes.

    The creation of one that is there stays, and so do models and tools that it does not name.
    """
    fields = {name: getattr(change.agent, name) for name in AgentFields.model_fields}
    return Agent(
        id=change.agent_id,
        external_id=change.external_id,
        llm=(held.llm if held else ()) if change.llm is None else change.llm,
        tools=(held.tools if held else ()) if change.tools is None else change.tools,
        created_at=held.created_at if held else accepted_at,
        updated_at=_later(held, accepted_at) if held else accepted_at,
        **fields,
    )


def changed_agent(held: Agent, change: AgentChange, *, updated_at: datetime) -> Agent:
    """Return the record with the fields that a change replaces."""
    fields = {**change.changes.given(), "updated_at": _later(held, updated_at)}
    if change.llm is not None:
        fields["llm"] = change.llm
    if change.tools is not None:
        fields["tools"] = change.tools
    return held.model_copy(update=fields)


def touched_agent(held: Agent, *, updated_at: datetime) -> Agent:
    """Return the record where something beside it was changed."""
    return held.model_copy(update={"updated_at": _later(held, updated_at)})


def _later(held: Agent, updated_at: datetime) -> datetime:
    """Return the moment of a change: clocks differ, and rows of a batch wait until it is whole."""
    return max(updated_at, held.updated_at + timedelta(microseconds=1))


def says_the_same(one: Agent, other: Agent) -> bool:
    """Tell whether two records differ in nothing but when they were made and changed."""
    return one == other.model_copy(
        update={"created_at": one.created_at, "updated_at": one.updated_at}
    )
