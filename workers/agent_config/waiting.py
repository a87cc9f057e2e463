"""Events that cannot be decided at the moment: where nobody waits for one, it rests.

Keys for secrets or name servers are away, which is no fault of the event. It rests for longer
the longer it has waited, keeps what came with it, and holds up what follows it of its agent.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection

from workers.agent_config.refusal import ChangeRefusedError, NotNowError
from workers.agent_config.secret_values import keys_unavailable
from workers.agent_config.settling import OpenedEvent
from workers.agent_config.vault import Vault
from workers.errors import KeysUnavailableError
from workers.storage.events.resting import rest_events
from workers.storage.events.rows import Reason

SHORTEST_S: Final = 2.0
LONGEST_S: Final = 30.0
PART_OF_AGE: Final = 4
"""It rests for a fourth of the time that it has waited already."""
PATIENCE: Final = timedelta(minutes=5)
"""How long an event waits for a name that was looked up: a name server may be gone for good."""

log = structlog.get_logger(__name__)


class Decidable(NamedTuple):
    """What can be decided now, and the ids of what rests; what is in neither waits for those."""

    events: list[OpenedEvent]
    resting: set[str]


def hold_back(
    connection: Connection,
    vault: Vault | None,
    events: Sequence[OpenedEvent],
    owner: str,
    now: datetime,
) -> Decidable:
    """Let those of these leased events rest that cannot be decided; return the others.

    Those include what somebody waits for: it is refused. Belongs into the transaction that
    settles them, in which the current key stays what it is.
    """
    keys_away = _keys_away(connection, vault, events, now)
    ready, resting = list[OpenedEvent](), defaultdict[Reason, list[OpenedEvent]](list)
    held_up: dict[tuple[str, str], Reason] = {}
    for event in events:
        patient = _at_an_end(event, now)
        reason = held_up.get(event.whose) or _reason(patient, keys_away)
        if reason is None:
            ready.append(patient)
            continue
        held_up[event.whose] = reason
        if not event.has_caller:
            resting[reason].append(event)
    for reason, found in resting.items():
        _rest(connection, found, owner, reason, now)
    _report(events, keys_away)
    return Decidable(ready, {event.id for found in resting.values() for event in found})


def _keys_away(
    connection: Connection, vault: Vault | None, events: Sequence[OpenedEvent], now: datetime
) -> NotNowError | None:
    """Return why no secret can be stored now; only asked where one is to be stored."""
    if vault is None or not any(event.secrets and not event.has_caller for event in events):
        return None
    try:
        vault.key_to_write_under(connection, now)
    except KeysUnavailableError as error:
        return keys_unavailable(error)
    return None


def _reason(event: OpenedEvent, keys_away: NotNowError | None) -> Reason | None:
    """Return why an event has to rest; what somebody waits for never does."""
    refusal = event.refusal or (keys_away if event.secrets else None)
    if event.has_caller or not isinstance(refusal, NotNowError):
        return None
    return refusal.reason


def _at_an_end(event: OpenedEvent, now: datetime) -> OpenedEvent:
    """Return an event, refused for good where its name was looked up for long enough."""
    refusal = event.refusal
    if (
        isinstance(refusal, NotNowError)
        and refusal.reason == "names_unavailable"
        and refusal.param is not None  # else nobody looked it up
        and event.names_away_since is not None
        and now - event.names_away_since > PATIENCE
    ):
        message = "the host's name cannot be resolved"
        return event._replace(
            refusal=ChangeRefusedError(message, "validation_error", refusal.param)
        )
    return event


def _rest(
    connection: Connection,
    events: Sequence[OpenedEvent],
    owner: str,
    reason: Reason,
    now: datetime,
) -> None:
    age_s = min((now - event.accepted_at).total_seconds() for event in events)
    rest_s = min(max(age_s / PART_OF_AGE, SHORTEST_S), LONGEST_S)
    until = now + timedelta(seconds=rest_s)
    rest_events(connection, [event.id for event in events], owner, reason, now=now, until=until)
    log.warning("config events wait", reason=reason, events=len(events), rest_s=round(rest_s))


def _report(events: Sequence[OpenedEvent], keys_away: NotNowError | None) -> None:
    """Say once what the operator has to mend."""
    found = [keys_away, *(event.refusal for event in events)]
    for detail in {each.detail for each in found if isinstance(each, NotNowError)} - {""}:
        log.error("a secret cannot be stored", reason=detail)
