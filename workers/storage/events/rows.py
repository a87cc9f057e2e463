"""Config events in the database; who changes a status does it by compare-and-set.

Sealed keys that came with an event lie beside its body, and only until it is settled. Each
function works inside a transaction of its caller.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Row, func, insert, or_, select, text, update

from schemas.closed import Closed
from schemas.config_event import Change, Status, read_change
from workers.storage.tables import config_events, from_microseconds, to_microseconds


class ConfigEvent(Closed):
    """A config event as it is stored."""

    id: str
    change: Change
    status: Status
    message: str | None
    accepted_at: datetime


class LeasedEvent(NamedTuple):
    """An event that a worker holds the lease of, its change still as text."""

    event_id: str
    agent_id: str
    body: str
    sealed: tuple[str | None, ...]
    """The keys of its LLM entries, in order; None keeps the stored one."""
    accepted_at: int
    batch_id: str | None
    line: int | None
    """Which row of which batch it is."""


def leased_columns() -> list[Column[Any]]:
    """Return the columns that `as_leased` wants."""
    columns = config_events.c
    names = ("id", "agent_id", "body", "sealed", "accepted_at", "batch_id", "line")
    return [columns[name] for name in names]


def as_leased(row: Row[Any]) -> LeasedEvent:
    """Return an event from its columns."""
    return LeasedEvent(
        event_id=row.id,
        agent_id=row.agent_id,
        body=row.body,
        sealed=tuple(json.loads(row.sealed or "[]")),
        accepted_at=row.accepted_at,
        batch_id=row.batch_id,
        line=row.line,
    )


def read_leased(connection: Connection, event_id: str, lease: str) -> LeasedEvent | None:
    """Return an event whose lease this owner holds, None where it is not so."""
    columns = config_events.c
    query = select(*leased_columns()).where(
        columns.id == event_id, columns.status == "pending", columns.lease_owner == lease
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else as_leased(row)


def take_turns(connection: Connection, agent_ids: Collection[str]) -> None:
    """Wait until no other event of these agents is being added, and keep others waiting likewise.

    Whoever takes the time of acceptance after that, in the same transaction, makes the order of
    those times the order in which events can be seen. Locks are taken in one order everywhere,
    or two processes wait for each other. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        digests = [hashlib.sha256(each.encode()).digest() for each in sorted(set(agent_ids))]
        keys = [int.from_bytes(digest[:8], signed=True) for digest in digests]
        lock = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
        connection.execute(lock, {"keys": keys})


def newest_accepted(connection: Connection, agent_ids: Collection[str]) -> dict[str, int]:
    """Return when the newest event of each of these agents was accepted, in microseconds."""
    columns = config_events.c
    newest = (
        select(columns.agent_id, func.max(columns.accepted_at))
        .where(columns.agent_id.in_(agent_ids))
        .group_by(columns.agent_id)
    )
    return {str(row[0]): int(row[1]) for row in connection.execute(newest)}


class NewEvent(NamedTuple):
    """A pending event that is to be stored."""

    event_id: str
    change: Change
    accepted_at: int
    """This, and the next two, in microseconds since the epoch."""
    expires_at: int | None
    """Nobody applies it later than that."""
    due_at: int
    """If it is not settled by then, a config worker sends it again."""
    sealed: Sequence[str] = ()
    """The keys of its LLM entries, in order."""


def add_events(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Store pending events."""
    values = [
        {
            "id": event.event_id,
            "account": event.change.account,
            "kind": event.change.kind,
            "agent_id": event.change.agent_id,
            "body": event.change.model_dump_json(),
            "status": "pending",
            "accepted_at": event.accepted_at,
            "expires_at": event.expires_at,
            "sealed": json.dumps(list(event.sealed)) if event.sealed else None,
            "due_at": event.due_at,
        }
        for event in events
    ]
    connection.execute(insert(config_events), values)


def settle_event(
    connection: Connection,
    event_id: str,
    status: Status,
    *,
    now: datetime,
    message: str | None = None,
    lease: str | None = None,
) -> bool:
    """Turn a pending event into `status`; False where another was first, or its time is up.

    With `lease`, only where its owner still is this one. The row stays locked until the
    caller's transaction ends. An event is withdrawn however late it is. Sealed keys go with the
    settling.
    """
    change = update(config_events).where(
        config_events.c.id == event_id, config_events.c.status == "pending"
    )
    if status != "withdrawn":
        expires_at = config_events.c.expires_at
        change = change.where(or_(expires_at.is_(None), expires_at > to_microseconds(now)))
    if lease is not None:
        change = change.where(config_events.c.lease_owner == lease)
    values = {"status": status, "message": message, **_settled(now)}
    return connection.execute(change.values(**values)).rowcount == 1


def settle_held(
    connection: Connection, event_ids: Collection[str], lease: str, now: datetime
) -> set[str]:
    """Turn those of these events whose lease is held into applied ones; return which they are.

    The others were settled by somebody else, or their time is up. As `settle_event` otherwise.
    """
    columns = config_events.c
    change = update(config_events).where(
        columns.id.in_(event_ids),
        columns.status == "pending",
        columns.lease_owner == lease,
        or_(columns.expires_at.is_(None), columns.expires_at > to_microseconds(now)),
    )
    values = {"status": "applied", "message": None, **_settled(now)}
    found = connection.execute(change.values(**values).returning(columns.id))
    return {str(row[0]) for row in found}


def refuse_settled(connection: Connection, event_id: str, reason: str) -> None:
    """Turn an event into a rejected one that this transaction settled as applied."""
    this = config_events.c.id == event_id
    connection.execute(update(config_events).where(this).values(status="rejected", message=reason))


def _settled(now: datetime) -> dict[str, object]:
    moment = to_microseconds(now)
    return {"settled_at": moment, "lease_owner": None, "lease_until": None, "sealed": None}


def withdraw_overdue(connection: Connection, now: datetime) -> int:
    """Withdraw every event whose time is up and return how many there were."""
    overdue = update(config_events).where(
        config_events.c.status == "pending", config_events.c.expires_at <= to_microseconds(now)
    )
    values = {"status": "withdrawn", "sealed": None, "settled_at": to_microseconds(now)}
    return connection.execute(overdue.values(**values)).rowcount


def find_event(connection: Connection, event_id: str) -> ConfigEvent | None:
    """Return an event, or None where there is none of this id."""
    row = connection.execute(
        select(config_events).where(config_events.c.id == event_id)
    ).one_or_none()
    if row is None:
        return None
    return ConfigEvent(
        id=row.id,
        change=read_change(row.body),
        status=row.status,
        message=row.message,
        accepted_at=from_microseconds(row.accepted_at),
    )
