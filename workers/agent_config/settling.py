"""The one transaction in which events are applied, refused and counted, one or a group.

What is stored is read once, changed in memory event by event, and written back at the end.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

import structlog
from sqlalchemy import Connection

from schemas.batch import RowError
from schemas.config_event import (
    AgentChange,
    AgentDelete,
    AgentRotate,
    AgentUpsert,
    Change,
    ConfigResult,
)
from workers.agent_config.order import place_in_time
from workers.agent_config.records import build_agent, changed_agent, says_the_same, touched_agent
from workers.agent_config.refusal import ChangeRefusedError, NotNowError
from workers.agent_config.rotate_key import rotated_entries
from workers.agent_config.secret_values import (
    Entries,
    Headers,
    Opened,
    keys_unavailable,
    make_entries,
    make_headers,
)
from workers.agent_config.states import AgentState, AgentStates
from workers.agent_config.vault import Vault
from workers.errors import KeysUnavailableError
from workers.secrets.key_ring import KeyEncryptionKey
from workers.storage.agents.rows import (
    StoredAgent,
)
from workers.storage.agents.tombstones import find_tombstones, put_tombstone
from workers.storage.batches.batch import Effect, count_rows, note_errors
from workers.storage.events.rows import refuse_settled, settle_held
from workers.storage.webhooks.outbox import Told, announce_results

log = structlog.get_logger(__name__)


class Outcome(NamedTuple):
    """What became of an event: its result, and the agent as it is stored or was before it went."""

    result: ConfigResult
    stored: StoredAgent | None = None
    gone: StoredAgent | None = None


class OpenedEvent(NamedTuple):
    """An event that is ready to be applied, its secrets in clear: they live no longer than this."""

    id: str
    whose: tuple[str, str]
    """The account and the agent that it is about."""
    change: Change | None
    """None where it cannot be read; `refusal` says so."""
    accepted_at: datetime
    secrets: Opened = ()
    refusal: ChangeRefusedError | None = None
    """Why it is not applied, where that is known before."""
    batch_id: str | None = None
    line: int | None = None
    has_caller: bool = False
    """Somebody waits for what becomes of it, and not for long."""
    names_away_since: datetime | None = None
    """Since when it rests for a name server."""


def settle_group(
    connection: Connection,
    vault: Vault | None,
    events: Sequence[OpenedEvent],
    owner: str,
    now: datetime,
) -> list[Outcome]:
    """Apply or refuse those of these events whose lease is held, in this order; count their rows.

    The others are left out of what is returned. Webhooks that tell of it are written down, too,
    but not of rows that changed nothing, nor of calls that are told to come back. Any exception
    undoes all of it.
    """
    mine = settle_held(connection, [event.id for event in events], owner, now)
    settling = _Settling(connection, vault, [event for event in events if event.id in mine], now)
    outcomes = [settling.settle(event) for event in settling.events]
    settling.write()
    announce_results(connection, settling.told, now)
    return outcomes


def _told(result: ConfigResult) -> Told:
    return Told(result.event_id, result.status, result.message, result.code, result.param)


class _Settling:
    def __init__(
        self,
        connection: Connection,
        vault: Vault | None,
        events: Sequence[OpenedEvent],
        now: datetime,
    ) -> None:
        self.events = events
        self.told: list[Told] = []
        self._connection = connection
        self._vault = vault
        self._now = now
        ids = {event.change.agent_id for event in events if event.change is not None}
        self._agents = AgentStates(connection, ids)
        self._tombstones = find_tombstones(connection, ids) if ids else {}
        self._counts: defaultdict[str, Counter[Effect]] = defaultdict(Counter)
        self._errors: defaultdict[str, list[RowError]] = defaultdict(list)

    def settle(self, event: OpenedEvent) -> Outcome:
        """Change the agent of an event in memory, or refuse the event."""
        is_to_come_back = False
        try:
            if event.refusal is not None or event.change is None:
                raise event.refusal or ChangeRefusedError("the event cannot be read")
            effect, outcome = self._apply(event, event.change)
        except ChangeRefusedError as refusal:
            effect, outcome = "failed", self._refuse(event, refusal)
            is_to_come_back = event.has_caller and isinstance(refusal, NotNowError)
        if event.batch_id is not None:
            self._counts[event.batch_id][effect] += 1
        if not is_to_come_back and (event.batch_id is None or effect != "unchanged"):
            self.told.append(_told(outcome.result))
        return outcome

    def write(self) -> None:
        """Write everything back."""
        self._agents.write()
        for batch_id, counts in self._counts.items():
            note_errors(self._connection, batch_id, self._errors[batch_id])
            count_rows(self._connection, batch_id, counts, self._now)

    def _apply(self, event: OpenedEvent, change: Change) -> tuple[Effect, Outcome]:
        state = self._agents.states[change.agent_id]
        held = state.stored
        if held is not None and held.account != change.account:
            held = None
            if isinstance(change, AgentUpsert):
                raise _no_such_agent()
        newest = self._tombstones.get((change.account, change.agent_id))
        if held is not None:
            newest = held.occurred_at or held.agent.updated_at
        occurred_at = place_in_time(change, event.accepted_at, newest)
        if isinstance(change, AgentDelete):
            return self._remove(event, change, held, occurred_at)
        if isinstance(change, AgentUpsert):
            agent = build_agent(change, held.agent if held else None, event.accepted_at)
        elif held is None:
            raise _no_such_agent()
        elif isinstance(change, AgentRotate):
            agent = touched_agent(held.agent, updated_at=event.accepted_at)
        else:
            agent = changed_agent(held.agent, change, updated_at=event.accepted_at)
        are_same = self._renew_secrets(event, change, state)
        if held is None:
            state.stored = StoredAgent(
                account=change.account, version=1, agent=agent, occurred_at=occurred_at
            )
            effect: Effect = "created"
        elif event.batch_id is not None and are_same and says_the_same(held.agent, agent):
            state.stored = held.model_copy(update={"occurred_at": occurred_at})
            effect = "unchanged"
        else:
            new = {"version": held.version + 1, "agent": agent, "occurred_at": occurred_at}
            state.stored = held.model_copy(update=new)
            effect = "updated"
        state.is_changed = True
        result = ConfigResult(event_id=event.id, status="applied", record=state.stored.agent)
        return effect, Outcome(result, stored=None if effect == "unchanged" else state.stored)

    def _renew_secrets(
        self,
        event: OpenedEvent,
        change: AgentUpsert | AgentChange | AgentRotate,
        state: AgentState,
    ) -> bool:
        """Put entries and headers in place; tell whether they are what was there already."""
        if isinstance(change, AgentRotate):
            made = rotated_entries(self._writer, self._key, change, event.secrets, state.entries)
            state.entries, state.has_new_entries = made, True
            return False
        entries, headers = self._make_secrets(event.secrets, change, state)
        are_same = (entries is None or entries.are_same) and (headers is None or headers.are_same)
        if event.batch_id is not None and are_same:
            return True
        if entries is not None:
            state.entries, state.has_new_entries = entries.stored, True
        if headers is not None:
            state.headers, state.has_new_headers = headers.stored, True
        return are_same

    def _make_secrets(
        self, secrets: Opened, change: AgentUpsert | AgentChange, state: AgentState
    ) -> tuple[Entries | None, Headers | None]:
        """Return the new entries and headers, None for those that the change does not name."""
        owner, count = (change.account, change.agent_id), len(change.llm or ())
        keys, values = secrets[:count], secrets[count:]
        entries = None if change.llm is None else Entries([], are_same=not state.entries)
        if change.llm:
            entries = make_entries(
                self._writer,
                self._key,
                owner,
                entries=change.llm,
                keys=keys,
                held=state.entries,
            )
        headers = None if change.tools is None else Headers([], are_same=not state.headers)
        if change.tools and values:
            headers = make_headers(
                self._writer,
                self._key,
                owner,
                tools=change.tools,
                values=values,
                held=state.headers,
            )
        return entries, headers

    @property
    def _writer(self) -> Vault:
        if self._vault is None:
            raise ChangeRefusedError("the change came without the keys of its models or tools")
        return self._vault

    @cached_property
    def _key(self) -> KeyEncryptionKey:
        """The key to write under; another does not become current before the transaction ends."""
        try:
            return self._writer.key_to_write_under(self._connection, self._now)
        except KeysUnavailableError as error:
            log.error("a secret cannot be stored", reason=str(error))  # noqa: TRY400  # the message is the whole story
            raise keys_unavailable(error) from None

    def _remove(
        self,
        event: OpenedEvent,
        change: AgentDelete,
        held: StoredAgent | None,
        occurred_at: datetime,
    ) -> tuple[Effect, Outcome]:
        """Remove an agent; one that is not there (yet) is gone all the same for what came before.

        A batch asks for a state, and has it where the agent is not there.
        """
        if held is None and change.occurred_at is None and event.batch_id is None:
            raise _no_such_agent()
        whose = (change.account, change.agent_id)
        put_tombstone(self._connection, *whose, occurred_at=occurred_at, removed_at=self._now)
        self._tombstones[whose] = occurred_at
        if held is not None:
            state = self._agents.states[change.agent_id]
            state.stored, state.entries, state.headers = None, [], []
            state.is_changed = state.has_new_entries = state.has_new_headers = True
        outcome = Outcome(ConfigResult(event_id=event.id, status="applied"), gone=held)
        return "unchanged" if held is None else "deleted", outcome

    def _refuse(self, event: OpenedEvent, refusal: ChangeRefusedError) -> Outcome:
        message = str(refusal)
        code, param = refusal.error_code, refusal.param
        refuse_settled(self._connection, event.id, message, code=code, param=param)
        if event.batch_id is not None and event.line is not None:
            error = RowError(line=event.line, code=code, message=message, param=param)
            self._errors[event.batch_id].append(error)
        result = ConfigResult(
            event_id=event.id, status="rejected", message=message, code=code, param=param
        )
        return Outcome(result)


def _no_such_agent() -> ChangeRefusedError:
    return ChangeRefusedError("there is no such agent", "agent_not_found", "agent_id")
