"""Agents with a secret of each kind in the database, and a look at what those are under."""

from collections import Counter
from functools import partial

from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.ids import new_id
from tests.integration.config.keys import NOW, URL
from workers.agent_config.vault import Vault
from workers.secrets.envelope import decrypt, encrypt, key_id_of
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyEncryptionKey, KeyRingReader, read_key_ring
from workers.secrets.places import place_of_header, place_of_key
from workers.settings import Settings
from workers.storage.agents.llm_rows import (
    StoredEntry,
    count_by_key,
    entries_of,
    replace_entries,
)
from workers.storage.agents.tool_rows import (
    StoredHeader,
    count_headers_by_key,
    headers_of,
    replace_headers,
)
from workers.storage.database import reading, writing

TOOL_URL = "https://tool.example.com/weather"


def fill(engine: Engine, vault: Vault, count: int) -> list[str]:
    """Store agents with an entry and a header each, whose secrets their ids follow from."""
    made = [new_id("agent") for _ in range(count)]
    with writing(engine) as connection:
        key = vault.key_to_write_under(connection, NOW)
        replace_entries(connection, made, [_entry(agent_id, key) for agent_id in made])
        replace_headers(connection, made, [_header(agent_id, key) for agent_id in made])
    return made


def _entry(agent_id: str, key: KeyEncryptionKey) -> StoredEntry:
    entry = StoredEntry(
        agent_id=agent_id,
        entry=0,
        account="default",
        base_url=URL,
        model="m",
        key_id=key.id,
        api_key=b"",
    )
    envelope = encrypt(key, SecretStr(f"sk-{agent_id}"), place_of_key(entry))
    return entry.model_copy(update={"api_key": envelope})


def _header(agent_id: str, key: KeyEncryptionKey) -> StoredHeader:
    header = StoredHeader(
        agent_id=agent_id,
        entry=0,
        account="default",
        tool="weather",
        name="Authorization",
        url=TOOL_URL,
        key_id=key.id,
        value=b"",
    )
    envelope = encrypt(key, SecretStr(f"header-{agent_id}"), place_of_header(header))
    return header.model_copy(update={"value": envelope})


def reader(settings: Settings) -> KeyRingReader:
    return KeyRingReader(partial(read_key_ring, keys_folder(settings.home_path), {}))


def counts(engine: Engine) -> dict[str, int]:
    """How many secrets are under each key."""
    with reading(engine) as connection:
        return Counter(count_by_key(connection)) + Counter(count_headers_by_key(connection))


def opens(engine: Engine, keys: KeyRingReader, agent_id: str) -> bool:
    """Tell whether both secrets of an agent are what they were."""
    with reading(engine) as connection:
        (entry,) = entries_of(connection, agent_id)
        (header,) = headers_of(connection, agent_id, "weather")
    assert key_id_of(entry.api_key) == entry.key_id
    assert key_id_of(header.value) == header.key_id
    key = decrypt(keys.find, entry.api_key, place_of_key(entry))
    value = decrypt(keys.find, header.value, place_of_header(header))
    found = (key.get_secret_value(), value.get_secret_value())
    return found == (f"sk-{agent_id}", f"header-{agent_id}")
