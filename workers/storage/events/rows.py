"""Config events in the database; who changes a status does it by compare-and-set.

Sealed keys that came with an event lie beside its body, and only until it is settled. Each
function works inside a transaction of its caller.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Update,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from schemas.config_event import Change
from schemas.error import ErrorCode
from workers.storage.tables import config_events, to_microseconds

Reason = Literal["keys_unavailable", "names_unavailable"]
"""Why an event rests: keys for secrets are away, or the name servers."""
RESTING: Final[frozenset[str]] = frozenset(get_args(Reason))


class LeasedEvent(NamedTuple):
    """An event that a worker holds the lease of, its change still as text."""

    event_id: str
    account: str
    agent_id: str
    body: str
    sealed: tuple[str | None, ...]
    """The keys of its LLM entries, in order; None keeps the stored one."""
    accepted_at: int
    batch_id: str | None
    line: int | None
    """Which row of which batch it is."""
    has_caller: bool
    """Somebody waits for what becomes of it, and not for long."""
    has_rested: bool
    """It could not be decided before, as something was away."""
    names_away_since: int | None
    """When it first rested for name servers, in microseconds, where it last did for those."""


def leased_columns() -> list[Column[Any]]:
    """Return the columns that `as_leased` wants."""
    columns = config_events.c
    names = ("id", "account", "agent_id", "body", "sealed", "accepted_at", "batch_id", "line")
    return [columns[name] for name in (*names, "expires_at", "message", "rests_since")]


def as_leased(row: Row[Any]) -> LeasedEvent:
    """Return an event from its columns."""
    return LeasedEvent(
        event_id=row.id,
        account=row.account,
        agent_id=row.agent_id,
        body=row.body,
        sealed=tuple(json.loads(row.sealed or "[]")),
        accepted_at=row.accepted_at,
        batch_id=row.batch_id,
        line=row.line,
        has_caller=row.expires_at is not None,
        has_rested=row.message in RESTING,
        names_away_since=row.rests_since if row.message == "names_unavailable" else None,
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


def update_in_order(*conditions: ColumnElement[bool]) -> Update:
    """Return a change to the events that these conditions choose, locked in the order of ids.

    Whoever changes many at once locks them so, or two of them wait for each other.
    """
    columns = config_events.c
    chosen = select(columns.id).where(*conditions).order_by(columns.id).with_for_update()
    return update(config_events).where(columns.id.in_(chosen.correlate(None)))


def settle_held(
    connection: Connection, event_ids: Collection[str], lease: str, now: datetime
) -> set[str]:
    """Turn those of these events whose lease is held into applied ones; return which they are.

    The others were settled by somebody else, or their time is up. The rows stay locked until the
    caller's transaction ends. Sealed keys go with the settling.
    """
    columns = config_events.c
    change = update_in_order(
        columns.id.in_(event_ids),
        columns.status == "pending",
        columns.lease_owner == lease,
        or_(columns.expires_at.is_(None), columns.expires_at > to_microseconds(now)),
    )
    values = {"status": "applied", "message": None, **settled_at(now)}
    found = connection.execute(change.values(**values).returning(columns.id))
    return {str(row[0]) for row in found}


def refuse_settled(
    connection: Connection, event_id: str, reason: str, *, code: ErrorCode, param: str | None
) -> None:
    """Turn an event into a rejected one that this transaction settled as applied."""
    this = update(config_events).where(config_events.c.id == event_id)
    values = {"status": "rejected", "message": reason, "code": code, "param": param}
    connection.execute(this.values(**values))


def settled_at(now: datetime) -> dict[str, object]:
    """Return what changes in an event that is settled, whatever becomes of it."""
    moment = to_microseconds(now)
    return {"settled_at": moment, "lease_owner": None, "lease_until": None, "sealed": None}
