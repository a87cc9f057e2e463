"""How an LLM entry did when it was called to see whether it works."""

from datetime import datetime
from typing import Literal

from schemas.closed import Closed
from schemas.ids import AgentId

HealthStatus = Literal["ok", "degraded", "failing", "unknown"]
CircuitState = Literal["closed", "failing", "open", "half_open"]
"""Whether turns ask the endpoint; `failing`: they do, but the last call failed."""
ToolUse = Literal["called", "broken", "not_called", "refused", "no_answer"]


class ProbeResult(Closed):
    """What a probe found; times in milliseconds, None where it did not get that far."""

    status: HealthStatus = "unknown"
    reason: str | None = None
    """The failure class of a turn, or `slow_first_token`, `slow_tokens`, `no_tools`."""
    message: str | None = None
    """In our words: nothing that the endpoint said."""
    status_code: int | None = None
    checked_at: datetime | None = None
    first_token_ms: float | None = None
    """From the start of a new connection to the first content."""
    longest_gap_ms: float | None = None
    """Between two pieces of content."""
    cancel_ms: float | None = None
    """How long it took to break the stream off, as a user does who interrupts."""
    tools: ToolUse | None = None
    """What came of offering a tool; None where the text failed already."""


class EntryHealth(ProbeResult):
    """An LLM entry, its last probe and its circuit breaker, as they are read."""

    entry: int
    base_url: str
    model: str
    pending: bool
    """Whether it is being probed, or about to be."""
    circuit: CircuitState = "closed"
    """What its last turns found: `open` is left alone, `half_open` to be tried by the next turn."""
    left_alone_until: datetime | None = None
    """While it is `open`: no turn asks it before."""


class LlmHealth(Closed):
    """The entries of an agent, in order; none where the managed model answers."""

    agent_id: AgentId
    entries: tuple[EntryHealth, ...]
