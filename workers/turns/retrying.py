"""Whether a model that failed before its first word is asked again: pure."""

from typing import Final

from workers.errors import ModelError

AGAIN: Final = frozenset({"timeout_connect", "disconnected", "empty", "http_5xx"})
"""Failures that may be over in a moment; every other goes to the next entry at once."""
UNWELL: Final = frozenset(
    {
        "timeout_connect",
        "timeout_first_token",
        "timeout_inter_token",
        "disconnected",
        "empty",
        "incomplete",
        "http_5xx",
    }
)
"""Failures that speak against an endpoint: they move its circuit breaker."""
SHARED_UNWELL: Final = frozenset(
    {"timeout_connect", "timeout_first_token", "disconnected", "http_5xx"}
)
"""The same of an endpoint that all accounts share: what a prompt can bring about is no part."""
TIMEOUTS: Final = frozenset({"timeout_connect", "timeout_first_token", "timeout_inter_token"})
"""Failures that say nothing where an agent has chosen its own deadlines."""
PAUSE_S: Final = 0.1
ROOM_S: Final = 0.2
"""How much time must be left to a further try, in seconds."""


def pause_before_retry(error: ModelError, left_s: float) -> float | None:
    """Return how long to wait before the same entry is asked again; None: it is not.

    `left_s` is what is left until its first word must be there. What the endpoint asks for by
    `Retry-After` counts, and where that does not fit, there is no second try.
    """
    if error.retry_after_s is None and error.failure not in AGAIN:
        return None
    pause_s = max(PAUSE_S, error.retry_after_s or 0.0)
    return pause_s if pause_s + ROOM_S <= left_s else None
