"""A new key for an LLM entry that is there; all else of its agent stays as it is."""

from collections.abc import Sequence

from schemas.config_event import AgentRotate
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.secret_values import Opened
from workers.agent_config.vault import Vault
from workers.secrets.key_ring import KeyEncryptionKey
from workers.secrets.places import place_of_key
from workers.storage.agents.llm_rows import StoredEntry


def rotated_entries(
    vault: Vault,
    key: KeyEncryptionKey,
    change: AgentRotate,
    secrets: Opened,
    held: Sequence[StoredEntry],
) -> list[StoredEntry]:
    """Return the entries of an agent, one of them with the key that came with a change.

    Raises ChangeRefusedError where the agent has no such entry or several, or the key is not there.
    """
    entry = _entry(held, change)
    if len(secrets) != 1 or secrets[0] is None:
        raise ChangeRefusedError("the change came without the key")
    envelope = vault.to_envelope(key, secrets[0], place_of_key(entry))
    renewed = entry.model_copy(update={"key_id": key.id, "api_key": envelope})
    return [renewed if other is entry else other for other in held]


def _entry(entries: Sequence[StoredEntry], change: AgentRotate) -> StoredEntry:
    if not entries:
        raise ChangeRefusedError("the agent has no model of its own", "validation_error", "api_key")
    there = [entry for entry in entries if change.base_url in (None, entry.base_url)]
    fitting = [entry for entry in there if change.model in (None, entry.model)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        param = "model" if there else "base_url"
        raise ChangeRefusedError("the agent has no such entry", "validation_error", param)
    if change.base_url is None:
        message = "the agent has several entries: say which by base_url"
        raise ChangeRefusedError(message, "validation_error", "base_url")
    message = "several entries have this base_url: say which by model"
    if change.model is not None:
        message = "several entries have this base_url and model: send them anew"
    raise ChangeRefusedError(message, "validation_error", "model")
