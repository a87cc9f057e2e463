"""Keys in a home, and changes that carry sealed ones, as the gateway makes them."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.agent import AgentFields, ChangedFields, LlmView, Voice
from schemas.config_event import AgentChange, AgentUpsert, Change
from schemas.ids import new_id
from workers.agent_config.vault import Vault
from workers.secrets.binding import Binding
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.storage.database import writing
from workers.storage.events.rows import NewEvent, add_events
from workers.storage.tables import to_microseconds

NOW = datetime(2026, 11, 22, 19, 5, 0, 123456, tzinfo=UTC)
URL = "https://llm.example.com/v1"


def new_vault(settings: Settings) -> Vault:
    """Make keys in the home where there are none, and return a worker's view of them."""
    make_missing_keys(keys_folder(settings.home_path), {})
    return Vault(keys_folder(settings.home_path), {})


def upsert(base_url: str = URL, agent_id: str | None = None, name: str = "a") -> AgentUpsert:
    return AgentUpsert(
        agent_id=agent_id or new_id("agent"),
        account="default",
        agent=AgentFields(name=name, system_prompt="b", voice=Voice(voice_id="ivy")),
        llm=(LlmView(base_url=base_url, model="m"),),
    )


def change(agent_id: str, llm: Sequence[LlmView] | None = None, **fields: object) -> AgentChange:
    return AgentChange(
        agent_id=agent_id,
        account="default",
        changes=ChangedFields.model_validate(fields),
        llm=None if llm is None else tuple(llm),
    )


def sealed(folder: Path, change: Change, key: str) -> tuple[str, ...]:
    """Seal this key for every entry of a change."""
    entries = getattr(change, "llm", None) or ()
    public = read_public_key(folder, {})
    return tuple(
        seal(
            public,
            SecretStr(key),
            Binding(change.account, change.agent_id, number, entry.base_url),
        )
        for number, entry in enumerate(entries)
    )


def accept(
    engine: Engine,
    event: Change,
    seals: Sequence[str] = (),
    *,
    at: datetime = NOW,
    expires_at: datetime | None = None,
) -> str:
    event_id = new_id("event")
    with writing(engine) as connection:
        expires = None if expires_at is None else to_microseconds(expires_at)
        accepted = to_microseconds(at)
        new = NewEvent(event_id, event, accepted, expires, due_at=accepted, sealed=seals)
        add_events(connection, [new])
    return event_id


def environment_with(settings: Settings) -> dict[str, str]:
    """Return the variables of a command on this home and database."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("EDGEWISE_")},
        "EDGEWISE_HOME": str(settings.home_path),
        "EDGEWISE_DATABASE_URL": settings.database,
    }
