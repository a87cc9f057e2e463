"""Applying the rows of a batch, a group in one transaction.

Rows whose agent has an earlier event that is not settled yet are left to a later group. Where
a name does not resolve in time, or one of the group is poisonous, they are given back: each is
then sent and applied alone, and dies alone.
"""

import contextlib
from datetime import timedelta
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Engine

from workers.agent_config.apply import LEASE_S, Clock, new_owner
from workers.agent_config.opening import Check, open_group
from workers.agent_config.settling import Outcome, settle_group
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.storage.batch_rows import claim_group, put_back, with_earlier_events
from workers.storage.database import writing
from workers.storage.event_leases import give_back_all

GROUP: Final = 250
"""Rows in one transaction: a REST call that comes in between waits for one group at most."""

log = structlog.get_logger(__name__)


class Applied(NamedTuple):
    """What became of a group."""

    outcomes: list[Outcome]
    alone: list[str]
    """Events that were given back, to be tried one by one."""
    behind: int
    """How many were left to a later group."""
    size: int


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
    owner, now = new_owner(), clock()
    until = now + timedelta(seconds=lease_s)
    with writing(engine) as connection:
        claimed = claim_group(connection, batch_id, owner, until=until, limit=size)
        behind = with_earlier_events(connection, claimed)
        put_back(connection, behind, owner)
    if not claimed:
        return None
    rows = [row for row in claimed if row.event_id not in behind]
    try:
        opened = open_group(rows, vault, check, within_s=lease_s / 2)
        with writing(engine) as connection:
            outcomes = settle_group(connection, vault, opened, owner, clock())
    except StorageUnavailableError:
        with contextlib.suppress(StorageUnavailableError), writing(engine) as connection:
            give_back_all(connection, [row.event_id for row in rows], owner, now)
        raise
    except Exception as error:  # noqa: BLE001  # each event is tried alone, and the one at fault dies
        log.warning("a group of events is taken apart", error=type(error).__name__, size=len(rows))
        outcomes = []
    settled = {outcome.result.event_id for outcome in outcomes}
    alone = [row.event_id for row in rows if row.event_id not in settled]
    if alone:
        with writing(engine) as connection:
            give_back_all(connection, alone, owner, clock())
    return Applied(outcomes, alone, len(behind), len(claimed))
