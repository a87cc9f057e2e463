"""Applying events in groups, each in one transaction: rows of a batch, or what came together.

Events whose agent has an earlier event that is not settled yet are left for later; what cannot
be decided now rests. Where a name does not resolve in time, or one of the group is poisonous,
they are given back: each is then applied alone, and dies alone.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from workers.agent_config.apply import LEASE_S, Clock, new_owner
from workers.agent_config.opening import Check, open_group
from workers.agent_config.settling import Outcome, settle_group
from workers.agent_config.vault import Vault
from workers.agent_config.waiting import hold_back
from workers.errors import StorageUnavailableError
from workers.storage.batches.rows import claim_group, put_back
from workers.storage.database import reading, writing
from workers.storage.events.group_leases import (
    claim_events,
    with_earlier_events,
    with_open_events,
)
from workers.storage.events.leases import give_back_all
from workers.storage.events.resting import resting_until
from workers.storage.events.rows import LeasedEvent

GROUP: Final = 250
"""Rows in one transaction: a REST call that comes in between waits for one group at most."""
OPENED_S: Final = 0.5
"""How long the names of one event may hold up the others that came with it, in seconds."""

log = structlog.get_logger(__name__)


class Applied(NamedTuple):
    """What became of a group."""

    outcomes: list[Outcome]
    alone: list[str]
    """Events that were given back, to be tried one by one."""
    behind: int
    """How many were left for later."""
    size: int
    followed: Sequence[str] = ()
    """Rows whose agent has a change behind them that is none; its message may be dropped by now."""


class _Claimed(NamedTuple):
    rows: list[LeasedEvent]
    behind: int


_Claim = Callable[[Connection, str, datetime, datetime], _Claimed]
"""Takes leases for an owner, now and until then."""


def apply_group(
    engine: Engine,
    batch_id: str,
    clock: Clock,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
    size: int = GROUP,
) -> Applied | None:
    """Take the next rows of a batch and apply them; None where none wait.

    Raises StorageUnavailableError; what was taken is then given back, or its lease runs out.
    """

    def claim(connection: Connection, owner: str, now: datetime, until: datetime) -> _Claimed:
        claimed = claim_group(connection, batch_id, owner, now=now, until=until, limit=size)
        behind = with_earlier_events(connection, claimed)
        late = [row for row in claimed if row.event_id in behind]
        if behind:
            put_back(connection, behind, owner, resting_until(connection, late, now))
        return _without(claimed, behind)

    within_s = lease_s / 2
    applied = _apply_claimed(engine, claim, clock, vault, check, lease_s=lease_s, within_s=within_s)
    if applied is None or not applied.outcomes:
        return applied
    return applied._replace(followed=_followed(engine, applied.outcomes, clock()))


def apply_named(
    engine: Engine,
    event_ids: Sequence[str],
    clock: Clock,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
) -> Applied | None:
    """As `apply_group`, with those of these events that wait and were not tried before."""

    def claim(connection: Connection, owner: str, now: datetime, until: datetime) -> _Claimed:
        claimed = claim_events(connection, event_ids, owner, now=now, until=until)
        behind = with_earlier_events(connection, claimed)
        give_back_all(connection, behind, owner, now)
        return _without(claimed, behind)

    within_s = min(OPENED_S, lease_s / 2)
    return _apply_claimed(engine, claim, clock, vault, check, lease_s=lease_s, within_s=within_s)


def _followed(engine: Engine, outcomes: Sequence[Outcome], now: datetime) -> list[str]:
    settled = [outcome.result.event_id for outcome in outcomes]
    try:
        with reading(engine) as connection:
            return with_open_events(connection, settled, now, but_rows=True)
    except StorageUnavailableError:
        return []  # the group is applied; what follows is found when it is overdue


def _without(claimed: Sequence[LeasedEvent], behind: set[str]) -> _Claimed:
    return _Claimed([row for row in claimed if row.event_id not in behind], len(behind))


def _apply_claimed(
    engine: Engine,
    claim: _Claim,
    clock: Clock,
    vault: Vault | None,
    check: Check | None,
    *,
    lease_s: float,
    within_s: float,
) -> Applied | None:
    owner, now = new_owner(), clock()
    with writing(engine) as connection:
        rows, behind = claim(connection, owner, now, now + timedelta(seconds=lease_s))
    size = len(rows) + behind
    if not rows:
        return Applied([], [], behind, size) if behind else None
    resting = set[str]()
    if all(row.has_rested for row in rows):
        within_s = lease_s / 2  # none of those that wait with it is in a hurry
    try:
        opened = open_group(rows, vault, check, within_s)
        with writing(engine) as connection:
            now = clock()
            decidable = hold_back(connection, vault, opened, owner, now)
            outcomes = settle_group(connection, vault, decidable.events, owner, now)
            resting = decidable.resting
    except StorageUnavailableError:
        with contextlib.suppress(StorageUnavailableError), writing(engine) as connection:
            give_back_all(connection, [row.event_id for row in rows], owner, now)
        raise
    except Exception as error:  # noqa: BLE001  # each event is tried alone, and the one at fault dies
        log.warning("a group of events is taken apart", error=type(error).__name__, size=len(rows))
        outcomes = []
    settled = {outcome.result.event_id for outcome in outcomes}
    alone = [row.event_id for row in rows if row.event_id not in settled | resting]
    if alone:
        with writing(engine) as connection:
            give_back_all(connection, alone, owner, clock())
    return Applied(outcomes, alone, behind, size)
