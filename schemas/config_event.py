"""A config event: the one way in for configuration, whoever sends it.

The event is a row in the database first; the Celery message on the queue `config` carries
its id alone. The worker's answer wakes the REST call that waits for it.
"""

from typing import Final, Literal

from schemas.agent import Agent, AgentCreate
from schemas.closed import Closed
from schemas.ids import AgentId, EventId

CONFIG_QUEUE: Final = "config"
CONFIG_TASK: Final = "config.apply"

Status = Literal["pending", "applied", "rejected", "withdrawn"]


class AgentUpsert(Closed):
    """Store this agent under this id."""

    kind: Literal["agent.upsert"] = "agent.upsert"
    agent_id: AgentId
    account: str
    agent: AgentCreate


class ConfigTask(Closed):
    """The Celery message: which event to apply."""

    version: Literal[1] = 1
    event_id: EventId


class ConfigResult(Closed):
    """What became of an event; `message` is fit for the caller's eyes."""

    event_id: EventId
    status: Status
    message: str | None = None
    record: Agent | None = None
    """The agent as it is stored now, where the event was applied."""


def result_key(event_id: str) -> str:
    """Name the Redis list on which the result of an event is handed to the waiting call."""
    return f"config:{event_id}:result"
