"""Which of two changes of an agent is the later one, although messages overtake each other.

A change that says when it came about (`occurred_at`) is applied only where that is not before
the newest change that was applied, a removal included; of two that came about at the same
moment, both are applied, as they were accepted. A change that does not say so is applied
whenever its turn comes, and counts as having come about when it was accepted.
"""

from datetime import datetime, timedelta
from typing import Final

from schemas.config_event import Change
from workers.agent_config.refusal import ChangeRefusedError

AHEAD_S: Final = 300.0
"""How far a sender's clock may be ahead of ours: one from next year would shut out all others."""
OUT_OF_DATE: Final = "a later change of this agent was applied before"


def place_in_time(change: Change, accepted_at: datetime, newest: datetime | None) -> datetime:
    """Return when the newest change of an agent came about once this one is applied.

    `newest` is the same before it. Raises ChangeRefusedError, with the param `occurred_at`, for
    a change that comes too late or from the future.
    """
    occurred_at = change.occurred_at
    if occurred_at is None:
        return accepted_at if newest is None else max(accepted_at, newest)
    if occurred_at > accepted_at + timedelta(seconds=AHEAD_S):
        message = "lies more than 5 minutes ahead of the time here"
        raise ChangeRefusedError(message, "validation_error", "occurred_at")
    if newest is not None and occurred_at < newest:
        raise ChangeRefusedError(OUT_OF_DATE, "invalid_request", "occurred_at")
    return occurred_at
