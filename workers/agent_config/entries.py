"""Storing the secrets of a change, each moved from its seal into its envelope."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from schemas.agent import LlmView
from schemas.config_event import AgentChange, AgentUpsert
from schemas.tool import ToolView
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.places import header_place
from workers.storage.llm_rows import StoredEntry, replace_entries
from workers.storage.tool_rows import StoredHeader, replace_headers

log = structlog.get_logger(__name__)


def store_secrets(
    connection: Connection,
    vault: Vault | None,
    change: AgentUpsert | AgentChange,
    sealed: Sequence[str],
    *,
    now: datetime,
) -> None:
    """Replace the LLM entries and the headers of tools that a change brings, and keep the others.

    `sealed` are the keys of its entries, then the values of its headers, in order. Raises
    ChangeRefusedError where they cannot be stored now; the log says what is to be mended.
    """
    owner = (change.account, change.agent_id)
    keys = len(change.llm or ())
    if change.llm is not None:
        store_entries(
            connection, vault, owner=owner, entries=change.llm, sealed=sealed[:keys], now=now
        )
    if change.tools is not None:
        _store_headers(
            connection, vault, owner=owner, tools=change.tools, sealed=sealed[keys:], now=now
        )


def remove_secrets(connection: Connection, agent_id: str) -> None:
    """Remove the LLM entries and the headers of tools of an agent."""
    replace_entries(connection, agent_id)
    replace_headers(connection, agent_id)


def store_entries(
    connection: Connection,
    vault: Vault | None,
    *,
    owner: tuple[str, str],
    entries: Sequence[LlmView],
    sealed: Sequence[str],
    now: datetime,
) -> None:
    """Replace the entries of an agent; `owner` is its account and id, `sealed` their keys in order.

    Raises ChangeRefusedError where keys cannot be stored now; the log says what is to be mended.
    """
    account, agent_id = owner
    if not entries:
        return replace_entries(connection, agent_id)
    if vault is None or len(sealed) != len(entries):
        raise ChangeRefusedError("the change came without the keys of its models")
    with _refusals():
        key = vault.key_to_write_under(connection, now)
        stored = [
            StoredEntry(
                agent_id=agent_id,
                entry=number,
                account=account,
                base_url=entry.base_url,
                model=entry.model,
                key_id=key.id,
                api_key=vault.to_envelope(
                    key, text, Binding(account, agent_id, number, entry.base_url)
                ),
            )
            for number, (entry, text) in enumerate(zip(entries, sealed, strict=True))
        ]
    return replace_entries(connection, agent_id, stored)


def _store_headers(
    connection: Connection,
    vault: Vault | None,
    *,
    owner: tuple[str, str],
    tools: Sequence[ToolView],
    sealed: Sequence[str],
    now: datetime,
) -> None:
    """Replace the headers of an agent's tools; as `store_entries`."""
    account, agent_id = owner
    named = [
        ((tool.name, tool.http.url), header.name)
        for tool in tools
        if tool.http is not None
        for header in tool.http.headers
    ]
    if not named:
        return replace_headers(connection, agent_id)
    if vault is None or len(sealed) != len(named):
        raise ChangeRefusedError("the change came without the values of its tools' headers")
    with _refusals():
        key = vault.key_to_write_under(connection, now)
        stored = [
            StoredHeader(
                agent_id=agent_id,
                entry=number,
                account=account,
                tool=tool[0],
                name=name,
                url=tool[1],
                key_id=key.id,
                value=vault.to_envelope(
                    key, text, header_place(account, agent_id, number, tool, name)
                ),
            )
            for number, ((tool, name), text) in enumerate(zip(named, sealed, strict=True))
        ]
    return replace_headers(connection, agent_id, stored)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (KeysUnavailableError, CredentialsUnavailableError) as error:
        log.error("a secret cannot be stored", code=error.code, reason=str(error))  # noqa: TRY400  # frames of a traceback hold it
        raise ChangeRefusedError(
            "keys cannot be stored at the moment, so nothing was changed", "unavailable"
        ) from None
