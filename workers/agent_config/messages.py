"""What another program put on the queue becomes a config event, once, or is refused."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from schemas.agent import AgentFields, LlmEntry, LlmView, too_many
from schemas.config_event import AgentChange, AgentDelete, AgentUpsert, Change
from schemas.config_message import (
    ChangeMessage,
    ConfigMessage,
    DeleteMessage,
    SealedEntry,
    UpsertMessage,
    read_message,
)
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import (
    CredentialsUnavailableError,
    InvalidBaseUrlError,
    KeysUnavailableError,
)
from workers.providers.base_url import parse_base_url
from workers.secrets.binding import Binding
from workers.storage.account_rows import has_account
from workers.storage.config_inbox import accept_event
from workers.storage.database import writing
from workers.storage.message_ids import add_message, find_message

MAX_FIELDS: Final = 20


def take_message(engine: Engine, vault: Vault, sent: Any, *, max_entries: int = 1) -> str | None:
    """Write a message down as a pending event and return its id; None where it was taken before.

    Raises ChangeRefusedError, which names fields and quotes nothing, for one that is malformed or
    has more than `max_entries` models; StorageUnavailableError, and then nothing happened.
    """
    message = _read(sent)
    change, sealed = _change(message)
    if len(sealed) > max_entries:
        raise ChangeRefusedError(f"llm: {too_many(max_entries)}")
    _check_keys(vault, change, sealed)
    try:
        with writing(engine) as connection:
            return _accept(connection, message, change, sealed)
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
    SealedEntry,
    AgentFields,
)
_KNOWN: Final = {name for model in _MODELS for name in model.model_fields} | {
    "agent.upsert",
    "agent.change",
    "agent.delete",
}


def _change(message: ConfigMessage) -> tuple[Change, tuple[str, ...]]:
    """Return what a message asks for, and the sealed keys of its models, in order."""
    agent_id, account, moment = message.whose, message.account, message.occurred_at
    if isinstance(message, DeleteMessage):
        return AgentDelete(agent_id=agent_id, account=account, occurred_at=moment), ()
    entries = message.llm
    llm = None if entries is None else tuple(map(_view, entries))
    sealed = tuple(entry.sealed_api_key for entry in entries or ())
    if isinstance(message, ChangeMessage):
        change = AgentChange(
            agent_id=agent_id,
            account=account,
            changes=message.changes,
            llm=llm,
            occurred_at=moment,
        )
        return change, sealed
    upsert = AgentUpsert(
        agent_id=agent_id,
        account=account,
        agent=message.agent,
        llm=llm,
        external_id=message.external_id,
        occurred_at=moment,
    )
    return upsert, sealed


def _view(entry: SealedEntry) -> LlmView:
    return LlmView(base_url=entry.base_url, model=entry.model)


def _check_keys(vault: Vault, change: Change, sealed: Sequence[str]) -> None:
    """Raise ChangeRefusedError unless every key opens and is one."""
    entries = (change.llm or ()) if isinstance(change, AgentUpsert | AgentChange) else ()
    for number, (entry, text) in enumerate(zip(entries, sealed, strict=True)):
        if not _is_normal(entry.base_url):
            raise ChangeRefusedError(f"llm.{number}.base_url: not in its normal form")
        binding = Binding(change.account, change.agent_id, number, entry.base_url)
        try:
            _check_key(entry, vault.open(text, binding))
        except CredentialsUnavailableError as error:
            raise ChangeRefusedError(f"llm.{number}.sealed_api_key: {error}") from None
        except KeysUnavailableError:
            return  # no fault of the message: what comes of it says so


def _is_normal(base_url: str) -> bool:
    """Tell whether a URL is in its normal form; one that is none is refused when it is applied."""
    try:
        return str(parse_base_url(base_url)) == base_url
    except InvalidBaseUrlError:
        return True


def _check_key(entry: LlmView, key: SecretStr) -> None:
    try:
        LlmEntry(base_url=entry.base_url, model=entry.model, api_key=key)
    except ValidationError as error:
        raise ChangeRefusedError(f"not valid: llm.{_fields(error.errors())}") from None


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
