"""A new key for an LLM entry that is there; all else of its agent stays as it is."""

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from schemas.config_event import AgentRotate
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.binding import Binding
from workers.storage.llm_rows import StoredEntry, entries_of, move_entry

log = structlog.get_logger(__name__)


def rotate_key(
    connection: Connection,
    vault: Vault | None,
    change: AgentRotate,
    *,
    sealed: Sequence[str],
    now: datetime,
) -> None:
    """Store the key that came with a change in place of the one that its entry has.

    Raises ChangeRefusedError where the agent has no such entry, or keys cannot be stored now.
    """
    entry = _entry(entries_of(connection, change.agent_id), change.base_url)
    if vault is None or len(sealed) != 1:
        raise ChangeRefusedError("the change came without the key")
    sent_for = Binding(change.account, change.agent_id, 0, change.base_url or "")
    kept_for = Binding(change.account, change.agent_id, entry.entry, entry.base_url)
    try:
        key = vault.key_to_write_under(connection, now)
        envelope = vault.to_envelope(key, sealed[0], sent_for, kept_for=kept_for)
    except (KeysUnavailableError, CredentialsUnavailableError) as error:
        log.error("an LLM key cannot be stored", code=error.code, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
        raise ChangeRefusedError(
            "keys cannot be stored at the moment, so nothing was changed", "unavailable"
        ) from None
    if not move_entry(connection, entry, key.id, envelope):
        raise ChangeRefusedError("the key was changed meanwhile", "unavailable")


def _entry(entries: Sequence[StoredEntry], base_url: str | None) -> StoredEntry:
    fitting = [entry for entry in entries if base_url in (None, entry.base_url)]
    if not entries:
        raise ChangeRefusedError("the agent has no model of its own", "validation_error", "api_key")
    if len(fitting) != 1:
        message = "several entries: say which" if fitting else "the agent has no such entry"
        raise ChangeRefusedError(message, "validation_error", "base_url")
    return fitting[0]
