"""The secrets of a change as they are stored, each moved from its seal into its envelope.

They are the keys of its LLM entries and then the values of its tools' headers, in order.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import SecretStr

from schemas.agent import NO_STORED_KEY, LlmView
from schemas.config_event import AgentChange, AgentRotate, AgentUpsert
from schemas.tool import ToolView
from workers.agent_config.refusal import ChangeRefusedError, NotNowError
from workers.agent_config.vault import Vault
from workers.errors import (
    CredentialsUnavailableError,
    KeysUnavailableError,
    SealedForAnotherKeyError,
)
from workers.secrets.binding import Binding
from workers.secrets.key_ring import KeyEncryptionKey
from workers.secrets.places import (
    header_place,
    place_of_header,
    place_of_key,
    renewed_key_place,
)
from workers.storage.agents.llm_rows import StoredEntry
from workers.storage.agents.tool_rows import StoredHeader

Opened = tuple[SecretStr | None, ...]
"""The secrets of a change, in order; None keeps the one that is stored for the same endpoint."""


class Entries(NamedTuple):
    """LLM entries to store, and whether they are what is stored already, keys included."""

    stored: list[StoredEntry]
    are_same: bool


class Headers(NamedTuple):
    """Headers of tools to store, and whether they are what is stored already."""

    stored: list[StoredHeader]
    are_same: bool


def open_secrets(
    vault: Vault | None,
    change: AgentUpsert | AgentChange | AgentRotate,
    sealed: Sequence[str | None],
) -> Opened:
    """Return the secrets of a change in clear.

    Raises ChangeRefusedError where they are not there or do not open here, and NotNowError where
    the key to open them is away.
    """
    places = places_of(change)
    if not places:
        return ()
    if vault is None or len(sealed) != len(places):
        raise ChangeRefusedError("the change came without the keys of its models or tools")
    try:
        return tuple(
            None if text is None else vault.open(text, place)
            for text, place in zip(sealed, places, strict=True)
        )
    except (KeysUnavailableError, SealedForAnotherKeyError) as error:
        raise keys_unavailable(error) from None
    except CredentialsUnavailableError as error:
        raise ChangeRefusedError(f"{error}, so nothing was changed") from None


def places_of(change: AgentUpsert | AgentChange | AgentRotate) -> list[Binding]:
    """Return what the secrets of a change were sealed for, in order."""
    account, agent_id = change.account, change.agent_id
    if isinstance(change, AgentRotate):
        return [renewed_key_place(account, agent_id, change.base_url, change.model)]
    places = [
        Binding(account, agent_id, number, entry.base_url)
        for number, entry in enumerate(change.llm or ())
    ]
    places += [
        header_place(account, agent_id, number, tool, name)
        for number, (tool, name) in enumerate(_headers(change.tools or ()))
    ]
    return places


def make_entries(
    vault: Vault,
    key: KeyEncryptionKey,
    owner: tuple[str, str],
    *,
    entries: Sequence[LlmView],
    keys: Opened,
    held: Sequence[StoredEntry],
) -> Entries:
    """Return the entries that take the place of those held, under this key-encryption key.

    `owner` is the account and the agent. Raises ChangeRefusedError where a key is to be kept and
    there is none.
    """
    account, agent_id = owner
    stored, are_same = [], len(entries) == len(held)
    for number, (entry, given) in enumerate(zip(entries, keys, strict=True)):
        before = held[number] if number < len(held) else None
        text = _kept_key(vault, entry, number, held) if given is None else given
        are_same = are_same and before is not None and _is_same(vault, entry, text, before)
        binding = Binding(account, agent_id, number, entry.base_url)
        stored.append(
            StoredEntry(
                agent_id=agent_id,
                entry=number,
                account=account,
                base_url=entry.base_url,
                model=entry.model,
                key_id=key.id,
                api_key=vault.to_envelope(key, text, binding),
            )
        )
    return Entries(stored, are_same)


def make_headers(
    vault: Vault,
    key: KeyEncryptionKey,
    owner: tuple[str, str],
    *,
    tools: Sequence[ToolView],
    values: Opened,
    held: Sequence[StoredHeader],
) -> Headers:
    """Return the headers that take the place of those held; as `make_entries`."""
    account, agent_id = owner
    named = _headers(tools)
    stored, are_same = [], len(named) == len(held)
    for number, (((tool, url), name), value) in enumerate(zip(named, values, strict=True)):
        if value is None:
            raise ChangeRefusedError("the change came without the values of its tools' headers")
        header = StoredHeader(
            agent_id=agent_id,
            entry=number,
            account=account,
            tool=tool,
            name=name,
            url=url,
            key_id=key.id,
            value=vault.to_envelope(
                key, value, header_place(account, agent_id, number, (tool, url), name)
            ),
        )
        before = held[number] if are_same else None
        are_same = before is not None and _is_same_header(vault, header, value, before)
        stored.append(header)
    return Headers(stored, are_same)


def keys_unavailable(
    error: KeysUnavailableError | SealedForAnotherKeyError,
) -> NotNowError:
    """Return the refusal for one whose keys cannot be stored now."""
    message = "keys cannot be stored at the moment, so nothing was changed"
    return NotNowError(message, "keys_unavailable", detail=str(error))


def _headers(tools: Sequence[ToolView]) -> list[tuple[tuple[str, str], str]]:
    """Return the headers of tools, each with its tool's name and URL before its own name."""
    return [
        ((tool.name, tool.http.url), header.name)
        for tool in tools
        if tool.http is not None
        for header in tool.http.headers
    ]


def _kept_key(vault: Vault, entry: LlmView, number: int, held: Sequence[StoredEntry]) -> SecretStr:
    """Return the key that is stored for an endpoint: it goes to no other."""
    param = f"llm.{number}.api_key"
    for other in held:
        if other.base_url == entry.base_url:
            try:
                return vault.read(other.api_key, place_of_key(other))
            except CredentialsUnavailableError:
                message = "the stored key cannot be opened; send it again"
                raise ChangeRefusedError(message, "validation_error", param) from None
    raise ChangeRefusedError(NO_STORED_KEY, "validation_error", param)


def _is_same(vault: Vault, entry: LlmView, text: SecretStr, held: StoredEntry) -> bool:
    if (entry.base_url, entry.model) != (held.base_url, held.model):
        return False
    return _opens_to(vault, held.api_key, place_of_key(held), text)


def _is_same_header(
    vault: Vault, header: StoredHeader, text: SecretStr, held: StoredHeader
) -> bool:
    if (header.tool, header.url, header.name) != (held.tool, held.url, held.name):
        return False
    return _opens_to(vault, held.value, place_of_header(held), text)


def _opens_to(vault: Vault, envelope: bytes, place: Binding, text: SecretStr) -> bool:
    try:
        return vault.read(envelope, place) == text
    except CredentialsUnavailableError:
        return False
