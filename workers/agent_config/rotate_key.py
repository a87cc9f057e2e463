"""A new key for an LLM entry that is there; all else of its agent stays as it is."""

from collections.abc import Sequence

from schemas.config_event import AgentRotate
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.secret_values import Opened
from workers.agent_config.vault import Vault
from workers.secrets.key_ring import KeyEncryptionKey
from workers.secrets.places import place_of_key
from workers.storage.llm_rows import StoredEntry


def rotated_entries(
    vault: Vault,
    key: KeyEncryptionKey,
    change: AgentRotate,
    secrets: Opened,
    held: Sequence[StoredEntry],
) -> list[StoredEntry]:
    """Return the entries of an agent, one of them with the key that came with a change.

    Raises ChangeRefusedError where the agent has no such entry, or the key is not there.
    """
    entry = _entry(held, change.base_url)
    if len(secrets) != 1 or secrets[0] is None:
        raise ChangeRefusedError("the change came without the key")
    envelope = vault.to_envelope(key, secrets[0], place_of_key(entry))
    renewed = entry.model_copy(update={"key_id": key.id, "api_key": envelope})
    return [renewed if other is entry else other for other in held]


def _entry(entries: Sequence[StoredEntry], base_url: str | None) -> StoredEntry:
    fitting = [entry for entry in entries if base_url in (None, entry.base_url)]
    if not entries:
        raise ChangeRefusedError("the agent has no model of its own", "validation_error", "api_key")
    if len(fitting) != 1:
        message = "several entries: say which" if fitting else "the agent has no such entry"
        raise ChangeRefusedError(message, "validation_error", "base_url")
    return fitting[0]
