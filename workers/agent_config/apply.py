"""What it means to apply a config event: once, whole, in order, or not at all."""

import contextlib
import os
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from schemas.agent import LlmView
from schemas.config_event import (
    AgentChange,
    AgentDelete,
    AgentRotate,
    AgentUpsert,
    Change,
    ConfigResult,
)
from schemas.tool import ToolView
from workers.agent_config.entries import remove_secrets, store_secrets
from workers.agent_config.order import place_in_time
from workers.agent_config.records import build_agent, changed_agent, touched_agent
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.rotate_key import rotate_key
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.storage.agent_rows import (
    StoredAgent,
    find_agent_to_change,
    put_agent,
    remove_agent,
)
from workers.storage.config_events import (
    ConfigEvent,
    find_event,
    settle_event,
    take_sealed,
)
from workers.storage.database import reading, writing
from workers.storage.event_leases import (
    bury_spent,
    give_back,
    next_of_agent,
    note_failure,
    take_lease,
)
from workers.storage.tombstones import find_tombstone, put_tombstone

LEASE_S: Final = 10.0
"""How long an event belongs to the worker that took it: longer than applying may take."""
REST_S: Final = 1.0
"""How long nobody tries an event again after a failure."""

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]
Check = Callable[[Sequence[LlmView], Sequence[ToolView]], None]
"""Raises ChangeRefusedError unless every endpoint may be called and every tool used."""


class Outcome(NamedTuple):
    """What became of an event: its result, and the agent as it is stored or was before it went."""

    result: ConfigResult
    stored: StoredAgent | None = None
    gone: StoredAgent | None = None


class _Lease(NamedTuple):
    event_id: str
    owner: str
    taken_at: datetime


class _Applied(NamedTuple):
    stored: StoredAgent | None = None
    gone: StoredAgent | None = None


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
    while True:
        now = clock()
        with reading(engine) as connection:
            head = next_of_agent(connection, event_id, now)
        if head is None or not head.is_free or head.event_id == tried:
            return
        tried = head.event_id
        outcome = apply_event(engine, tried, now, vault, check, lease_s=lease_s)
        if outcome is not None:
            yield outcome


def apply_event(
    engine: Engine,
    event_id: str,
    now: datetime,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    lease_s: float = LEASE_S,
) -> Outcome | None:
    """Take the lease of a pending event, apply it in one transaction, return what became of it.

    None where there is nothing to do: no such event, settled already, its time is up, another
    is on it, or this attempt failed and there will be another. Raises StorageUnavailableError,
    and then nothing happened.
    """
    owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(8)}"
    lease = _Lease(event_id, owner, now)
    until = now + timedelta(seconds=lease_s)
    with writing(engine) as connection:
        if take_lease(connection, event_id, owner, now=now, until=until):
            reason = None
        elif (reason := bury_spent(connection, event_id, now)) is None:
            return None
    if reason is not None:
        return _dead(event_id, reason)
    try:
        return _attempt(engine, lease, vault, check)
    except StorageUnavailableError:
        with contextlib.suppress(StorageUnavailableError), writing(engine) as connection:
            give_back(connection, event_id, owner, now)
        raise
    except Exception as error:  # noqa: BLE001  # any failure is counted, and the event dies of the third
        return _fail(engine, lease, error)


def _attempt(
    engine: Engine, lease: _Lease, vault: Vault | None, check: Check | None
) -> Outcome | None:
    try:
        if check is not None:
            _check_endpoints(engine, lease.event_id, check)
        with writing(engine) as connection:
            applied = _apply(connection, lease, vault)
    except ChangeRefusedError as refusal:
        return _refuse(engine, lease, refusal)
    if applied is None:
        return None
    record = applied.stored.agent if applied.stored else None
    result = ConfigResult(event_id=lease.event_id, status="applied", record=record)
    return Outcome(result, *applied)


def _fail(engine: Engine, lease: _Lease, error: Exception) -> Outcome | None:
    """Note why an attempt failed; what the error says may hold what was sent, so only its kind."""
    event_id, owner, taken_at = lease
    frame = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__} in {frame.name}"
    log.error("an attempt at a config event failed", event_id=event_id, reason=reason)
    rest_until = taken_at + timedelta(seconds=REST_S)
    with writing(engine) as connection:
        note_failure(connection, event_id, owner, reason, rest_until=rest_until)
        buried = bury_spent(connection, event_id, rest_until)
    return None if buried is None else _dead(event_id, buried)


def _dead(event_id: str, reason: str) -> Outcome:
    log.error("a config event is dead", event_id=event_id, reason=reason)
    return Outcome(ConfigResult(event_id=event_id, status="dead", message=reason))


def _check_endpoints(engine: Engine, event_id: str, check: Check) -> None:
    """Judge endpoints outside of the transaction that stores them: names take time to resolve."""
    with reading(engine) as connection:
        event = _read(connection, event_id)
    if event is None or event.status != "pending":
        return
    change = event.change
    if isinstance(change, AgentUpsert | AgentChange) and (change.llm or change.tools):
        check(change.llm or (), change.tools or ())


def _apply(connection: Connection, lease: _Lease, vault: Vault | None) -> _Applied | None:
    event_id, owner, now = lease
    if not settle_event(connection, event_id, "applied", now=now, lease=owner):
        return None
    event = _read(connection, event_id)
    if event is None:
        return None
    change = event.change
    held = find_agent_to_change(connection, change.agent_id)
    if held is not None and held.account != change.account:
        held = None
        if isinstance(change, AgentUpsert):
            raise _no_such_agent()
    occurred_at = place_in_time(change, event.accepted_at, _newest(connection, change, held))
    if isinstance(change, AgentUpsert):
        agent = build_agent(change, held.agent if held else None, event.accepted_at)
    elif isinstance(change, AgentDelete):
        return _remove(connection, change, held, occurred_at=occurred_at, now=now)
    elif held is None:
        raise _no_such_agent()
    elif isinstance(change, AgentRotate):
        sealed = take_sealed(connection, event_id)
        rotate_key(connection, vault, change, sealed=sealed, now=now)
        agent = touched_agent(held.agent, updated_at=event.accepted_at)
    else:
        agent = changed_agent(held.agent, change, updated_at=event.accepted_at)
    if not isinstance(change, AgentRotate) and (change.llm, change.tools) != (None, None):
        store_secrets(connection, vault, change, take_sealed(connection, event_id), now=now)
    return _Applied(stored=put_agent(connection, change.account, agent, occurred_at=occurred_at))


def _newest(connection: Connection, change: Change, held: StoredAgent | None) -> datetime | None:
    """Return when the newest change that was applied to this agent came about."""
    if held is None:
        return find_tombstone(connection, change.account, change.agent_id)
    return held.occurred_at or held.agent.updated_at


def _remove(
    connection: Connection,
    change: AgentDelete,
    held: StoredAgent | None,
    *,
    occurred_at: datetime,
    now: datetime,
) -> _Applied:
    """Remove an agent; one that is not there (yet) is gone all the same for what came before."""
    if held is None and change.occurred_at is None:
        raise _no_such_agent()
    whose = (change.account, change.agent_id)
    put_tombstone(connection, *whose, occurred_at=occurred_at, removed_at=now)
    if held is not None:
        remove_agent(connection, change.agent_id)
        remove_secrets(connection, change.agent_id)
    return _Applied(gone=held)


def _no_such_agent() -> ChangeRefusedError:
    return ChangeRefusedError("there is no such agent", "agent_not_found", "agent_id")


def _read(connection: Connection, event_id: str) -> ConfigEvent | None:
    try:
        return find_event(connection, event_id)
    except ValidationError:
        # No cause attached: pydantic's message holds what was sent.
        raise ChangeRefusedError("the event has a form that this release cannot read") from None


def _refuse(engine: Engine, lease: _Lease, refusal: ChangeRefusedError) -> Outcome | None:
    event_id, owner, now = lease
    message = str(refusal)
    with writing(engine) as connection:
        if not settle_event(
            connection, event_id, "rejected", now=now, message=message, lease=owner
        ):
            return None
    result = ConfigResult(
        event_id=event_id,
        status="rejected",
        message=message,
        code=refusal.error_code,
        param=refusal.param,
    )
    return Outcome(result)
