"""A config event: the one way in for configuration, whoever sends it.

The event is a row in the database first; the Celery message on the queue `config` carries
ids alone. The worker's answer wakes the REST call that waits for it.
"""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from schemas.agent import Agent, AgentFields, ChangedFields, LlmView
from schemas.closed import Closed
from schemas.error import ErrorCode
from schemas.ids import AgentId, EventId
from schemas.text import ExternalId
from schemas.tool import ToolView

CONFIG_QUEUE: Final = "config"
CONFIG_TASK: Final = "config.apply"
MOST_AT_ONCE: Final = 64
"""How many events one message names."""

Status = Literal["staged", "pending", "applied", "rejected", "withdrawn", "dead"]


class AgentUpsert(Closed):
    """Store this agent under this id.

    The keys of its LLM entries and then the values of its tools' headers, in order, are no part
    of the message: they are kept beside it, sealed, and only until it is settled.
    """

    kind: Literal["agent.upsert"] = "agent.upsert"
    agent_id: AgentId
    account: str
    agent: AgentFields
    llm: tuple[LlmView, ...] | None = ()
    """None keeps those of an agent that is there."""
    tools: tuple[ToolView, ...] | None = None
    """As `llm`."""
    external_id: ExternalId | None = None
    occurred_at: AwareDatetime | None = None
    """When it came about where it was sent from; None: when it was accepted."""


class AgentChange(Closed):
    """Replace these fields of an agent that is there; None keeps its entries or its tools."""

    kind: Literal["agent.change"] = "agent.change"
    agent_id: AgentId
    account: str
    changes: ChangedFields
    llm: tuple[LlmView, ...] | None = None
    tools: tuple[ToolView, ...] | None = None
    occurred_at: AwareDatetime | None = None
    """When it came about where it was sent from; None: when it was accepted."""


class AgentDelete(Closed):
    """Remove an agent and its keys."""

    kind: Literal["agent.delete"] = "agent.delete"
    agent_id: AgentId
    account: str
    occurred_at: AwareDatetime | None = None
    """When it came about where it was sent from; None: when it was accepted."""


class AgentRotate(Closed):
    """Replace the key of an LLM entry that is there when this is applied.

    The key is kept beside the message, sealed for this `base_url` and `model`.
    """

    kind: Literal["agent.llm.rotate"] = "agent.llm.rotate"
    agent_id: AgentId
    account: str
    base_url: str | None = None
    """Which entry it is; None: the only one."""
    model: str | None = None
    """Which of those with this `base_url`; None: the only one."""
    occurred_at: AwareDatetime | None = None
    """When it came about where it was sent from; None: when it was accepted."""


Change = AgentUpsert | AgentChange | AgentDelete | AgentRotate
read_change: Final = TypeAdapter[Change](
    Annotated[Change, Field(discriminator="kind")]
).validate_json
"""Reads a change from JSON; raises pydantic.ValidationError."""


class ConfigTask(Closed):
    """The Celery message: which event to apply, and which others were accepted with it."""

    version: Literal[1] = 1
    event_id: EventId
    others: tuple[EventId, ...] = Field((), max_length=MOST_AT_ONCE - 1)


class ConfigResult(Closed):
    """What became of an event; `message` is fit for the caller's eyes."""

    event_id: EventId
    status: Status
    message: str | None = None
    code: ErrorCode | None = None
    """Where it was rejected: what the caller's error is named."""
    param: str | None = None
    record: Agent | None = None
    """The agent as it is stored now, where the event was applied and the agent is still there."""


def result_key(event_id: str) -> str:
    """Name the Redis list on which the result of an event is handed to the waiting call."""
    return f"config:{event_id}:result"
