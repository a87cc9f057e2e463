"""What is kept of a session: its ends, and a time line of what was said and sent to the model."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.closed import Closed
from schemas.ids import AgentId, SessionId

Reason = Literal[
    "client", "deleted", "disconnected", "silent", "never_connected", "expired", "shutdown", "lost"
]
"""Why a session ended; `lost`: its gateway died."""


class SentRequest(Closed):
    """One request to the model; `messages` are those of its body, as they were sent."""

    attempt: int
    model: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[str, ...] = ()
    """The names of the tools that it might call."""
    prompt_suffix: str | None = None
    """The operator's text, where one is part of the system message."""
    omitted: bool = False
    """True where the messages were too large to keep."""


class Failure(Closed):
    """What went wrong in a turn."""

    code: str
    message: str
    retryable: bool
    status_code: int | None = None


class TurnEntry(Closed):
    """A turn as it was heard."""

    type: Literal["turn"] = "turn"
    id: str
    at: datetime
    """When it began: for an utterance, when speech did."""
    ended_at: datetime
    kind: Literal["utterance", "greeting", "reply"]
    user: str
    """What the user said; empty where nobody spoke."""
    reply_id: str
    reply: str
    """What was heard of the reply."""
    status: Literal["completed", "interrupted", "failed"]
    interrupted: bool
    sent: tuple[SentRequest, ...]
    model: str | None
    """The model that answered, or was asked last."""
    entry: int | None = None
    """Its place in the agent's list, from 0; None is the managed model."""
    attempts: int
    """How often the turn was sent to a worker or a model anew, the first time included."""
    errors: tuple[Failure, ...]
    metrics: dict[str, Any]
    """As in `reply.metrics`; times in milliseconds."""


class MessageEntry(Closed):
    """A message that the client added to the conversation."""

    type: Literal["message"] = "message"
    id: str
    at: datetime
    role: Literal["user", "assistant", "system"]
    content: str


TimelineEntry = Annotated[TurnEntry | MessageEntry, Field(discriminator="type")]


class SessionSummary(Closed):
    """A session in a list."""

    id: SessionId
    agent_id: AgentId
    status: Literal["active", "ended"]
    reason: Reason | None
    started_at: datetime
    ended_at: datetime | None
    duration_s: float
    """Until its end or, while it is active, until its gateway last said so."""


class ResponseMetadata(Closed):
    """How to go on in a list."""

    next_cursor: str | None


class SessionPage(Closed):
    """A part of the list of sessions, newest first."""

    sessions: tuple[SessionSummary, ...]
    has_more: bool
    response_metadata: ResponseMetadata


class SessionRecord(SessionSummary):
    """A session with a part of its time line, oldest first."""

    timeline: tuple[TimelineEntry, ...]
    has_more: bool
    response_metadata: ResponseMetadata
