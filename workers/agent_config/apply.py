"""What it means to apply a config event: once, whole, in order, or not at all."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from schemas.agent import Agent, AgentFields, LlmView
from schemas.config_event import AgentChange, AgentDelete, AgentUpsert, ConfigResult
from workers.agent_config.entries import store_entries
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.storage.agent_rows import (
    StoredAgent,
    find_agent_to_change,
    put_agent,
    remove_agent,
)
from workers.storage.config_events import (
    ConfigEvent,
    find_event,
    pending_before,
    settle_event,
    take_sealed,
)
from workers.storage.database import reading, writing
from workers.storage.llm_rows import replace_entries

Check = Callable[[Sequence[LlmView]], None]
"""Raises ChangeRefusedError unless every endpoint may be called."""


class Outcome(NamedTuple):
    """What became of an event: its result, and the agent as it is stored or was before it went."""

    result: ConfigResult
    stored: StoredAgent | None = None
    gone: StoredAgent | None = None


class _Applied(NamedTuple):
    stored: StoredAgent | None = None
    gone: StoredAgent | None = None


def apply_in_order(
    engine: Engine,
    event_id: str,
    now: datetime,
    vault: Vault | None = None,
    check: Check | None = None,
) -> Iterator[Outcome]:
    """Apply an event after those of the same agent that were accepted before it.

    Messages overtake each other on the queue. Raises as `apply_event` does.
    """
    with reading(engine) as connection:
        earlier = pending_before(connection, event_id)
    for each in (*earlier, event_id):
        outcome = apply_event(engine, each, now, vault, check)
        if outcome is not None:
            yield outcome


def apply_event(
    engine: Engine,
    event_id: str,
    now: datetime,
    vault: Vault | None = None,
    check: Check | None = None,
) -> Outcome | None:
    """Apply a pending event in one transaction and return what became of it.

    None where there is nothing to do: no such event, settled already, or its time is up.
    Raises StorageUnavailableError, and then nothing happened.
    """
    try:
        if check is not None:
            _check_endpoints(engine, event_id, check)
        with writing(engine) as connection:
            applied = _apply(connection, event_id, now, vault)
    except ChangeRefusedError as refusal:
        return _refuse(engine, event_id, now, refusal)
    if applied is None:
        return None
    record = applied.stored.agent if applied.stored else None
    return Outcome(ConfigResult(event_id=event_id, status="applied", record=record), *applied)


def _check_endpoints(engine: Engine, event_id: str, check: Check) -> None:
    """Judge endpoints outside of the transaction that stores them: names take time to resolve."""
    with reading(engine) as connection:
        event = _read(connection, event_id)
    if event is None or event.status != "pending" or isinstance(event.change, AgentDelete):
        return
    if event.change.llm:
        check(event.change.llm)


def _apply(
    connection: Connection, event_id: str, now: datetime, vault: Vault | None
) -> _Applied | None:
    if not settle_event(connection, event_id, "applied", now=now):
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
    if isinstance(change, AgentUpsert):
        agent = build_agent(change, created_at=event.accepted_at, updated_at=event.accepted_at)
    elif held is None:
        raise _no_such_agent()
    elif isinstance(change, AgentDelete):
        remove_agent(connection, change.agent_id)
        replace_entries(connection, change.agent_id)
        return _Applied(gone=held)
    else:
        agent = changed_agent(held.agent, change, updated_at=event.accepted_at)
    if change.llm is not None:
        owner = (change.account, change.agent_id)
        sealed = take_sealed(connection, event_id)
        store_entries(connection, vault, owner=owner, entries=change.llm, sealed=sealed, now=now)
    return _Applied(stored=put_agent(connection, change.account, agent))


def build_agent(change: AgentUpsert, *, created_at: datetime, updated_at: datetime) -> Agent:
    """Return the record that a change describes."""
    fields = {name: getattr(change.agent, name) for name in AgentFields.model_fields}
    return Agent(
        id=change.agent_id,
        llm=change.llm,
        created_at=created_at,
        updated_at=updated_at,
        **fields,
    )


def changed_agent(held: Agent, change: AgentChange, *, updated_at: datetime) -> Agent:
    """Return the record with the fields that a change replaces."""
    later = max(updated_at, held.updated_at + timedelta(microseconds=1))  # clocks differ
    fields = {**change.changes.given(), "updated_at": later}
    if change.llm is not None:
        fields["llm"] = change.llm
    return held.model_copy(update=fields)


def _no_such_agent() -> ChangeRefusedError:
    return ChangeRefusedError("there is no such agent", "agent_not_found", "agent_id")


def _read(connection: Connection, event_id: str) -> ConfigEvent | None:
    try:
        return find_event(connection, event_id)
    except ValidationError:
        # No cause attached: pydantic's message holds what was sent.
        raise ChangeRefusedError("the event has a form that this release cannot read") from None


def _refuse(
    engine: Engine, event_id: str, now: datetime, refusal: ChangeRefusedError
) -> Outcome | None:
    message = str(refusal)
    with writing(engine) as connection:
        if not settle_event(connection, event_id, "rejected", now=now, message=message):
            return None
    result = ConfigResult(
        event_id=event_id,
        status="rejected",
        message=message,
        code=refusal.error_code,
        param=refusal.param,
    )
    return Outcome(result)
