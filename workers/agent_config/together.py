"""Applying what one message names, and what waits behind it.

What came together goes in one transaction, first. What is left is applied agent by agent, each
event alone: what was given back, what others hold up, and what came meanwhile. A parallel worker
may have dropped the message of one of those, so this looks for them only after its own
transaction has ended. Where it is several agents, each goes on the queue again by itself: names
that take seconds to resolve then wait side by side.
"""

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Engine

from workers.agent_config.apply import LEASE_S, Clock, apply_in_order
from workers.agent_config.groups import apply_named
from workers.agent_config.opening import Check
from workers.agent_config.settling import Outcome
from workers.agent_config.vault import Vault
from workers.storage.database import reading
from workers.storage.events.group_leases import with_open_events


def apply_together(
    engine: Engine,
    event_ids: Sequence[str],
    clock: Clock,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
    send: Callable[[str], bool] | None = None,
) -> Iterator[list[Outcome]]:
    """Apply these events and what waits for their agents; yield what was settled together.

    Of one agent, in the order of acceptance. `send` puts an event on the queue again, and tells
    whether it did; what is not sent is applied here. Raises as `apply_in_order` does.
    """
    left = list(event_ids)
    if len(left) > 1 and (left := _waiting(engine, event_ids, clock)):
        applied = apply_named(engine, event_ids, clock, vault, check, lease_s=lease_s)
        if applied is not None:
            if applied.outcomes:
                yield applied.outcomes
            left = _waiting(engine, event_ids, clock)
    if send is not None and len(left) > 1:
        left = [left[0], *(event_id for event_id in left[1:] if not send(event_id))]
    for event_id in left:
        for outcome in apply_in_order(engine, event_id, clock, vault, check, lease_s=lease_s):
            yield [outcome]


def _waiting(engine: Engine, event_ids: Sequence[str], clock: Clock) -> list[str]:
    """Return one event for each agent that has something to be applied; only reads."""
    with reading(engine) as connection:
        return with_open_events(connection, event_ids, clock())
