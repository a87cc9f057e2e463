"""Storing the LLM entries of a change, each key moved from its seal into its envelope."""

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from schemas.agent import LlmView
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.binding import Binding
from workers.storage.llm_rows import StoredEntry, replace_entries

log = structlog.get_logger(__name__)


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
    try:
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
    except (KeysUnavailableError, CredentialsUnavailableError) as error:
        log.error("an LLM key cannot be stored", code=error.code, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
        raise ChangeRefusedError(
            "keys cannot be stored at the moment, so nothing was changed", "unavailable"
        ) from None
    return replace_entries(connection, agent_id, stored)
