"""The rows of batches as config events: staged, claimed in groups. Inside a transaction."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from schemas.config_event import Change
from schemas.ids import new_id
from workers.storage.batches.tables import batches
from workers.storage.events.group_leases import take_found
from workers.storage.events.leases import is_free
from workers.storage.events.resting import GROUP_ATTEMPTS
from workers.storage.events.rows import LeasedEvent, newest_accepted
from workers.storage.tables import config_events, to_microseconds

_columns = config_events.c


class StagedRow(NamedTuple):
    """A row that is ready to be written down."""

    line: int
    change: Change
    sealed: tuple[str | None, ...]
    """The keys of its LLM entries; None keeps the stored one."""


def stage_rows(
    connection: Connection, batch_id: str, rows: Sequence[StagedRow], now: datetime
) -> None:
    """Write rows down as events that nobody applies before their batch is turned on.

    Those of one agent are applied in the order of their lines, after what was accepted before.
    """
    last = newest_accepted(connection, {row.change.agent_id for row in rows})
    moment, values = to_microseconds(now), []
    for line, change, sealed in rows:
        accepted_at = max(moment, last.get(change.agent_id, 0) + 1)
        last[change.agent_id] = accepted_at
        values.append(
            {
                "id": new_id("event"),
                "account": change.account,
                "kind": change.kind,
                "agent_id": change.agent_id,
                "body": change.model_dump_json(),
                "status": "staged",
                "accepted_at": accepted_at,
                "sealed": json.dumps(sealed) if sealed else None,
                "due_at": accepted_at,
                "batch_id": batch_id,
                "line": line,
            }
        )
    connection.execute(insert(config_events), values)


def claim_group(
    connection: Connection,
    batch_id: str,
    owner: str,
    *,
    now: datetime,
    until: datetime,
    limit: int,
) -> list[LeasedEvent]:
    """Take the next staged rows of this account's running batches, and count the attempt.

    The oldest come first, whichever batch they are of, so that none waits for one of another
    batch. As many as `limit`, or fewer where they are long, and none for two workers at once.
    """
    account = select(batches.c.account).where(batches.c.id == batch_id).scalar_subquery()
    wanted = (
        select(_columns.id, func.length(_columns.body))
        .join(batches, batches.c.id == _columns.batch_id)
        .where(
            _columns.account == account,
            _columns.status == "staged",
            is_free(now),
            batches.c.status == "running",
        )
        .order_by(_columns.accepted_at, _columns.line)
        .limit(limit)
        .with_for_update(skip_locked=True, of=config_events)
    )
    return take_found(connection, wanted, owner, until)


def put_back(
    connection: Connection, event_ids: Collection[str], owner: str, until: int | None
) -> None:
    """Leave claimed rows to a later group, not before `until`; the attempt does not count."""
    held = update(config_events).where(
        _columns.id.in_(event_ids), _columns.status == "pending", _columns.lease_owner == owner
    )
    values = {"lease_owner": None, "lease_until": until, "attempts": _columns.attempts - 1}
    connection.execute(held.values(status="staged", **values))


def has_lost_rows(connection: Connection, now: datetime) -> bool:
    """Tell whether there is something for `regroup` to do."""
    return (
        connection.execute(select(_columns.id).where(_is_lost(now)).limit(1)).scalar() is not None
    )


def regroup(connection: Connection, now: datetime) -> set[str]:
    """Leave rows whose worker ended in the middle to another group; return their batches.

    What was in `GROUP_ATTEMPTS` groups that came to nothing stays, to be tried alone.
    """
    values = {"status": "staged", "lease_owner": None, "lease_until": None}
    change = update(config_events).where(_is_lost(now)).values(**values)
    return {str(row[0]) for row in connection.execute(change.returning(_columns.batch_id))}


def _is_lost(now: datetime) -> ColumnElement[bool]:
    return and_(
        _columns.status == "pending",
        _columns.batch_id.is_not(None),
        _columns.lease_owner.is_not(None),
        _columns.lease_until <= to_microseconds(now),
        _columns.attempts < GROUP_ATTEMPTS,
    )
