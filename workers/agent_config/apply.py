"""What it means to apply a config event: once, whole, in order, or not at all."""

import contextlib
import os
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from schemas.config_event import ConfigResult
from workers.agent_config.opening import Check, open_event
from workers.agent_config.settling import Outcome, settle_group
from workers.agent_config.vault import Vault
from workers.agent_config.waiting import hold_back
from workers.errors import StorageUnavailableError
from workers.storage.batches.batch import count_dead
from workers.storage.database import reading, writing
from workers.storage.events.leases import (
    bury_spent,
    give_back,
    is_row,
    next_of_agent,
    note_failure,
    take_lease,
)
from workers.storage.events.rows import read_leased

LEASE_S: Final = 10.0
"""How long an event belongs to the worker that took it: longer than applying may take."""
REST_S: Final = 1.0
"""How long nobody tries an event again after a failure."""

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]


class _Lease(NamedTuple):
    event_id: str
    owner: str


def apply_in_order(
    engine: Engine,
    event_id: str,
    clock: Clock,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
) -> Iterator[Outcome]:
    """Apply what waits for the agent of this event, in the order of acceptance.

    Messages overtake each other on the queue. It ends at an event that another worker is on,
    or that rests after a failure; whoever settles that one goes on from there, so the messages
    of those behind it may be dropped. Raises as `apply_event` does.
    """
    tried: str | None = None
    with reading(engine) as connection:
        can_wait = is_row(connection, event_id)
    while True:
        now = clock()
        with reading(engine) as connection:
            head = next_of_agent(connection, event_id, now)
        if head is None or not head.is_free or head.event_id == tried:
            return
        if head.is_staged and can_wait:
            return
        tried = head.event_id
        outcome = apply_event(engine, tried, clock, vault, check, lease_s=lease_s)
        if outcome is not None:
            yield outcome


def apply_event(
    engine: Engine,
    event_id: str,
    clock: Clock,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
) -> Outcome | None:
    """Take the lease of a pending event, apply it in one transaction, return what became of it.

    None where there is nothing to do: no such event, settled already, its time is up, be it only
    once it is opened, another is on it, or this attempt came to nothing and there will be another.
    Raises StorageUnavailableError, and then nothing happened.
    """
    owner, now = new_owner(), clock()
    lease = _Lease(event_id, owner)
    until = now + timedelta(seconds=lease_s)
    with writing(engine) as connection:
        if take_lease(connection, event_id, owner, now=now, until=until):
            reason = None
        elif (reason := _bury(connection, event_id, now)) is None:
            return None
    if reason is not None:
        return _dead(event_id, reason)
    try:
        return _attempt(engine, lease, clock, vault, check)
    except StorageUnavailableError:
        with contextlib.suppress(StorageUnavailableError), writing(engine) as connection:
            give_back(connection, event_id, owner, now)
        raise
    except Exception as error:  # noqa: BLE001  # any failure is counted, and the event dies of the third
        return _fail(engine, lease, clock(), error)


def new_owner() -> str:
    """Return the name of an owner of leases: host, process, and this one attempt."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(8)}"


def _attempt(
    engine: Engine, lease: _Lease, clock: Clock, vault: Vault | None, check: Check | None
) -> Outcome | None:
    with reading(engine) as connection:
        leased = read_leased(connection, lease.event_id, lease.owner)
    if leased is None:
        return None
    event = open_event(leased, vault, check)
    with writing(engine) as connection:
        now = clock()
        decidable = hold_back(connection, vault, [event], lease.owner, now)
        outcomes = settle_group(connection, vault, decidable.events, lease.owner, now)
    return outcomes[0] if outcomes else None


def _bury(connection: Connection, event_id: str, now: datetime) -> str | None:
    reason = bury_spent(connection, event_id, now)
    if reason is not None:
        count_dead(connection, event_id, reason, now)
    return reason


def _fail(engine: Engine, lease: _Lease, now: datetime, error: Exception) -> Outcome | None:
    """Note why an attempt failed; what the error says may hold what was sent, so only its kind."""
    event_id, owner = lease
    frame = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__} in {frame.name}"
    log.error("an attempt at a config event failed", event_id=event_id, reason=reason)
    rest_until = now + timedelta(seconds=REST_S)
    with writing(engine) as connection:
        note_failure(connection, event_id, owner, reason, rest_until=rest_until)
        buried = _bury(connection, event_id, rest_until)
    return None if buried is None else _dead(event_id, buried)


def _dead(event_id: str, reason: str) -> Outcome:
    log.error("a config event is dead", event_id=event_id, reason=reason)
    return Outcome(ConfigResult(event_id=event_id, status="dead", message=reason))
