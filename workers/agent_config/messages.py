"""What another program put on the queue becomes a config event, once, or is refused."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from schemas.agent import AgentFields, ChangedFields, LlmView, too_many
from schemas.config_event import AgentChange, AgentDelete, AgentRotate, AgentUpsert, Change
from schemas.config_message import (
    ChangeMessage,
    ConfigMessage,
    DeleteMessage,
    RotateMessage,
    SealedEntry,
    SealedHeader,
    SealedHttp,
    SealedTool,
    UpsertMessage,
    read_message,
)
from schemas.tool import HttpToolView, ToolFields, ToolHeaderView, ToolView
from workers.agent_config.message_secrets import check_secrets, sealed_values
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.storage.accounts.rows import has_account
from workers.storage.database import writing
from workers.storage.events.inbox import accept_event
from workers.storage.events.message_ids import add_message, find_message

MAX_FIELDS: Final = 20


def take_message(engine: Engine, vault: Vault, sent: Any, *, max_entries: int = 1) -> str | None:
    """Write a message down as a pending event and return its id; None where it was taken before.

    Raises ChangeRefusedError, which names fields and quotes nothing, for one that is malformed or
    has more than `max_entries` models; StorageUnavailableError, and then nothing happened.
    """
    message = _read(sent)
    change, sealed = _change(message), sealed_values(message)
    if len(getattr(message, "llm", None) or ()) > max_entries:
        raise ChangeRefusedError(f"llm: {too_many(max_entries)}")
    check_secrets(vault, change, sealed)
    try:
        with writing(engine) as connection:
            return _accept(connection, message, change, [value.text for value in sealed])
    except IntegrityError:  # another worker was first
        return None


def _read(sent: Any) -> ConfigMessage:
    try:
        return read_message(sent)
    except (ValidationError, RecursionError) as error:
        fields = _fields(error.errors()) if isinstance(error, ValidationError) else "…"
    raise ChangeRefusedError(f"not valid: {fields}")


def _fields(errors: Iterable[Any]) -> str:
    """Name the fields at fault; a name that is not one of ours was made up by the sender."""
    places = [
        ".".join(str(part) if part in _KNOWN or isinstance(part, int) else "…" for part in each)
        for each in (error["loc"] for error in errors)
    ]
    return ", ".join(sorted(set(places))[:MAX_FIELDS]) or "the whole"


_MODELS: Final[tuple[type[BaseModel], ...]] = (
    UpsertMessage,
    ChangeMessage,
    RotateMessage,
    SealedEntry,
    SealedTool,
    SealedHttp,
    SealedHeader,
    AgentFields,
)
_KNOWN: Final = {name for model in _MODELS for name in model.model_fields} | {
    "agent.upsert",
    "agent.change",
    "agent.delete",
    "agent.llm.rotate",
}


def _change(message: ConfigMessage) -> Change:
    """Return what a message asks for; its sealed values go beside it.

    It makes an agent only by its owner's name: an id may be another account's.
    """
    whose: Any = {
        "agent_id": message.whose,
        "account": message.account,
        "occurred_at": message.occurred_at,
    }
    if isinstance(message, DeleteMessage):
        return AgentDelete(**whose)
    if isinstance(message, RotateMessage):
        return AgentRotate(**whose, base_url=message.base_url, model=message.model)
    llm = None if message.llm is None else tuple(map(_entry, message.llm))
    tools = None if message.tools is None else tuple(map(_tool, message.tools))
    if isinstance(message, ChangeMessage):
        return AgentChange(**whose, changes=message.changes, llm=llm, tools=tools)
    if message.external_id is None:
        fields = {name: getattr(message.agent, name) for name in AgentFields.model_fields}
        return AgentChange(**whose, changes=ChangedFields(**fields), llm=llm, tools=tools)
    named = message.external_id
    return AgentUpsert(**whose, agent=message.agent, llm=llm, tools=tools, external_id=named)


def _entry(entry: SealedEntry) -> LlmView:
    return LlmView(base_url=entry.base_url, model=entry.model)


def _tool(tool: SealedTool) -> ToolView:
    fields = {name: getattr(tool, name) for name in ToolFields.model_fields}
    http = tool.http and HttpToolView(
        url=tool.http.url,
        http_method=tool.http.http_method,
        headers=tuple(ToolHeaderView(name=header.name) for header in tool.http.headers),
    )
    return ToolView(**fields, http=http)


def _accept(
    connection: Connection, message: ConfigMessage, change: Change, sealed: Sequence[str]
) -> str | None:
    if find_message(connection, message.account, message.id) is not None:
        return None
    if not has_account(connection, message.account):
        raise ChangeRefusedError("account: there is none of this name")
    event_id = accept_event(connection, change, sealed=sealed)
    add_message(connection, message.account, message.id, event_id, datetime.now(UTC))
    return event_id
