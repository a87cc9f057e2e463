"""What a webhook asks for, as a change of an agent; its keys are sealed here."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from schemas.agent import AgentFields, ChangedFields
from schemas.config_event import AgentChange, AgentDelete, AgentRotate, AgentUpsert, Change
from schemas.error import ErrorItem
from schemas.webhook import (
    DeleteEvent,
    RotateEvent,
    SourceEvent,
    UpsertEvent,
    read_source_event,
)
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.rest_errors import ApiError, invalid
from workers.storage.webhooks.receipts import KEPT
from workers.web.invalid_fields import invalid_items

AHEAD: Final = timedelta(minutes=5)
"""How far a sender's clock may be ahead: what lies further would shut out every later change."""
_EVENTS: Final = {
    "agent.upsert": UpsertEvent,
    "agent.delete": DeleteEvent,
    "agent.llm.rotate": RotateEvent,
}
_TYPES: Final = f"one of: {', '.join(_EVENTS)}"


def read_event(body: bytes) -> SourceEvent:
    """Return the event; raises ApiError, which holds nothing of what was sent."""
    try:
        event = read_source_event(body)
    except ValidationError as error:
        _refuse(error)
    if event.timestamp > datetime.now(UTC) + AHEAD:
        message = "timestamp: lies more than 5 minutes ahead of the time here"
        raise ApiError(422, "validation_error", message, param="timestamp")
    return event


def check_age(event: SourceEvent) -> None:
    """Raise ApiError, 422, for an event so old that its receipt may be forgotten.

    It may have come as early as `AHEAD` before its own time, so it is refused that much earlier.
    """
    if event.timestamp < datetime.now(UTC) - (KEPT - AHEAD):
        message = "timestamp: lies 7 days back, too far for a source that signs no time"
        raise ApiError(422, "validation_error", message, param="timestamp")


def to_change(account: str, event: SourceEvent, sealer: Sealer) -> tuple[Change, tuple[str, ...]]:
    """Return the change and the sealed keys that go with it; raises ApiError as `Sealer` does."""
    if isinstance(event, UpsertEvent):
        return _upsert(account, event, sealer)
    agent_id = event.data.agent_id(account)
    if isinstance(event, DeleteEvent):
        change = AgentDelete(agent_id=agent_id, account=account, occurred_at=event.timestamp)
        return change, ()
    return _rotate(account, agent_id, event, sealer)


def _upsert(account: str, event: UpsertEvent, sealer: Sealer) -> tuple[Change, tuple[str, ...]]:
    """Return what makes an agent only by its owner's name: an id may be another account's."""
    data, agent_id = event.data, event.data.agent_id(account)
    views, keys = sealer.seal(account, agent_id, data.llm)
    tools, values = sealer.tools.seal(account, agent_id, data.tools)
    whose: Any = {
        "agent_id": agent_id,
        "account": account,
        "llm": views if "llm" in data.model_fields_set else None,
        "tools": tools if "tools" in data.model_fields_set else None,
        "occurred_at": event.timestamp,
    }
    fields = {name: getattr(data, name) for name in AgentFields.model_fields}
    if data.external_id is None:
        change: Change = AgentChange(**whose, changes=ChangedFields(**fields))
    else:
        named = data.external_id
        change = AgentUpsert(**whose, agent=AgentFields(**fields), external_id=named)
    return change, keys + values


def _rotate(
    account: str, agent_id: str, event: RotateEvent, sealer: Sealer
) -> tuple[Change, tuple[str, ...]]:
    base_url, sealed = sealer.seal_key(account, agent_id, event.data)
    change = AgentRotate(
        agent_id=agent_id,
        account=account,
        base_url=base_url,
        model=event.data.model,
        occurred_at=event.timestamp,
    )
    return change, (sealed,)


def _refuse(error: ValidationError) -> NoReturn:
    """Name fields as the sender does: without the tag that pydantic puts in front."""
    errors = error.errors(include_input=False, include_url=False)
    if errors[0]["type"].startswith("union_tag"):  # its message repeats what was sent
        raise invalid((ErrorItem(message=_TYPES, param="type"),)) from None
    tag = str(errors[0]["loc"][0]) if errors[0]["loc"] else ""
    inner = [{**each, "loc": each["loc"][1:]} for each in errors]
    raise invalid(invalid_items(inner, _EVENTS.get(tag))) from None
