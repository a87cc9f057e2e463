"""From an event as it is stored to one that can be applied: read, judged, its keys opened.

Outside of any transaction, because the names of endpoints take time to resolve.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from pydantic import ValidationError

from schemas.agent import LlmView
from schemas.config_event import AgentChange, AgentDelete, AgentUpsert, Change, read_change
from schemas.tool import ToolView
from workers.agent_config.endpoints import NAMES_AWAY
from workers.agent_config.refusal import ChangeRefusedError, NotNowError
from workers.agent_config.secret_values import open_secrets
from workers.agent_config.settling import OpenedEvent
from workers.agent_config.vault import Vault
from workers.storage.events.rows import LeasedEvent
from workers.storage.tables import from_microseconds

Check = Callable[[Sequence[LlmView], Sequence[ToolView]], None]
"""Raises ChangeRefusedError unless every endpoint may be called and every tool used."""

_Part = LlmView | ToolView

JUDGES: Final = 32
"""How many endpoints of a group are judged at once."""


def open_event(leased: LeasedEvent, vault: Vault | None, check: Check | None) -> OpenedEvent:
    """Return an event ready to be applied, or with the reason why it cannot be."""
    try:
        change = _read(leased)
        entries, tools = _judged_parts(change)
        if check is not None and (entries or tools):
            check(entries, tools)
        return _with_keys(leased, change, vault)
    except ChangeRefusedError as refusal:
        return _opened(leased, refusal=refusal)


def open_group(
    leased: Sequence[LeasedEvent], vault: Vault | None, check: Check | None, within_s: float
) -> list[OpenedEvent]:
    """As `open_event` for many, each endpoint judged once.

    Those whose endpoints are not judged within so many seconds are left out; where names cannot
    be resolved at the moment, they are taken for some of those.
    """
    changes: dict[str, Change | ChangeRefusedError] = {}
    for event in leased:
        try:
            changes[event.event_id] = _read(event)
        except ChangeRefusedError as refusal:
            changes[event.event_id] = refusal
    found = [change for change in changes.values() if not isinstance(change, ChangeRefusedError)]
    parts = {key: part for change in found for key, part in _parts(change).values()}
    judged = _judge(parts, check, within_s)
    are_names_away = any(map(_is_name_away, judged.values()))
    opened = []
    for event in leased:
        change = changes[event.event_id]
        if isinstance(change, ChangeRefusedError):
            opened.append(_opened(event, refusal=change))
        elif all(key in judged for key, _ in _parts(change).values()):
            opened.append(_judged(event, change, vault, judged))
        elif event.has_rested or (are_names_away and not event.has_caller):
            away = NotNowError(NAMES_AWAY, "names_unavailable")
            opened.append(_opened(event, refusal=away))
    return opened


def _is_name_away(refusal: ChangeRefusedError | None) -> bool:
    return isinstance(refusal, NotNowError) and refusal.reason == "names_unavailable"


def _judged(
    leased: LeasedEvent,
    change: Change,
    vault: Vault | None,
    judged: Mapping[str, ChangeRefusedError | None],
) -> OpenedEvent:
    for place, (key, _) in _parts(change).items():
        refusal = judged[key]
        if refusal is not None:
            field = (refusal.param or "").split(".", 2)[2:]
            param = ".".join((place, *field)) if field else refusal.param
            return _opened(leased, refusal=refusal.with_param(param))
    try:
        return _with_keys(leased, change, vault)
    except ChangeRefusedError as refusal:
        return _opened(leased, refusal=refusal)


def _judge(
    parts: Mapping[str, _Part], check: Check | None, within_s: float
) -> dict[str, ChangeRefusedError | None]:
    if check is None or not parts:
        return dict.fromkeys(parts)

    def judge(part: _Part) -> ChangeRefusedError | None:
        try:
            check((part,), ()) if isinstance(part, LlmView) else check((), (part,))
        except ChangeRefusedError as refusal:
            return refusal
        return None

    pool = ThreadPoolExecutor(min(JUDGES, len(parts)), thread_name_prefix="judge")
    try:
        asked = {pool.submit(judge, part): key for key, part in parts.items()}
        done, _ = wait(asked, timeout=within_s)
        return {asked[future]: future.result() for future in done}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _parts(change: Change) -> dict[str, tuple[str, _Part]]:
    """Return what is to be judged in a change, by its place, each with what it has to be known by.

    Of two parts with the same key one is judged.
    """
    entries, tools = _judged_parts(change)
    found: dict[str, tuple[str, _Part]] = {
        f"llm.{number}": (entry.base_url, entry) for number, entry in enumerate(entries)
    }
    found |= {f"tools.{n}": (tool.model_dump_json(), tool) for n, tool in enumerate(tools)}
    return found


def _judged_parts(change: Change) -> tuple[tuple[LlmView, ...], tuple[ToolView, ...]]:
    if isinstance(change, AgentUpsert | AgentChange):
        return change.llm or (), change.tools or ()
    return (), ()


def _read(leased: LeasedEvent) -> Change:
    try:
        return read_change(leased.body)
    except ValidationError:
        # No cause attached: pydantic's message holds what was sent.
        raise ChangeRefusedError("the event has a form that this release cannot read") from None


def _with_keys(leased: LeasedEvent, change: Change, vault: Vault | None) -> OpenedEvent:
    if isinstance(change, AgentDelete):
        return _opened(leased, change)
    return _opened(leased, change)._replace(secrets=open_secrets(vault, change, leased.sealed))


def _opened(
    leased: LeasedEvent, change: Change | None = None, refusal: ChangeRefusedError | None = None
) -> OpenedEvent:
    away_since = leased.names_away_since
    return OpenedEvent(
        id=leased.event_id,
        whose=(leased.account, leased.agent_id),
        change=change,
        accepted_at=from_microseconds(leased.accepted_at),
        refusal=refusal,
        batch_id=leased.batch_id,
        line=leased.line,
        has_caller=leased.has_caller,
        names_away_since=None if away_since is None else from_microseconds(away_since),
    )
