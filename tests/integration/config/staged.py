"""Batches as the gateway stages them, without a gateway."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.agent import AgentFields, LlmView, Voice
from schemas.batch import Batch, RowError
from schemas.config_event import AgentUpsert, Change
from schemas.ids import agent_id_of, new_id
from tests.integration.config.keys import NOW, URL
from workers.agent_config.groups import Applied, apply_group
from workers.agent_config.opening import Check
from workers.agent_config.vault import Vault
from workers.secrets.binding import Binding
from workers.secrets.key_files import keys_folder
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.storage.batches.batch import errors_after, find_batch, open_batch, turn_on
from workers.storage.batches.rows import StagedRow, stage_rows
from workers.storage.database import reading, writing


def row(
    line: int,
    name: str = "a",
    *,
    external_id: str | None = None,
    llm: Sequence[tuple[str, str | None]] = (),
    settings: Settings | None = None,
) -> StagedRow:
    """An upsert; `llm` are pairs of model and key, None to keep the one that is stored."""
    known = external_id or f"x{line}"
    agent_id = agent_id_of("default", known)
    change = AgentUpsert(
        agent_id=agent_id,
        account="default",
        agent=AgentFields(name=name, system_prompt="b", voice=Voice(voice_id="ivy")),
        llm=tuple(LlmView(base_url=URL, model=model) for model, _ in llm),
        external_id=known,
    )
    keys = [key for _, key in llm]
    return StagedRow(line, change, tuple(_seal(settings, agent_id, key) for key in keys))


def _seal(settings: Settings | None, agent_id: str, key: str | None) -> str | None:
    if key is None or settings is None:
        return None
    public = read_public_key(keys_folder(settings.home_path), dict(os.environ))
    return seal(public, SecretStr(key), Binding("default", agent_id, 0, URL))


def asked(line: int, change: Change) -> StagedRow:
    return StagedRow(line, change, ())


def receive(engine: Engine, rows: Sequence[StagedRow], *, at: datetime = NOW) -> str:
    """Stage rows that nobody applies yet."""
    batch_id = new_id("batch")
    with writing(engine) as connection:
        open_batch(connection, batch_id, "default", None, now=at, due_at=at + timedelta(seconds=60))
        stage_rows(connection, batch_id, rows, at)
    return batch_id


def post(engine: Engine, rows: Sequence[StagedRow], *, at: datetime = NOW) -> str:
    """Stage rows and turn their batch on."""
    batch_id = receive(engine, rows, at=at)
    with writing(engine) as connection:
        assert turn_on(connection, batch_id, "hash", staged=len(rows), failed=0, now=at)
    return batch_id


def run(
    engine: Engine,
    batch_id: str,
    vault: Vault | None = None,
    check: Check | None = None,
    *,
    size: int = 250,
    at: datetime = NOW,
) -> list[Applied]:
    """Apply group after group until none waits."""
    found = []
    while applied := apply_group(engine, batch_id, lambda: at, vault, check, size=size):
        found.append(applied)
    return found


def batch(engine: Engine, batch_id: str) -> Batch:
    with reading(engine) as connection:
        found = find_batch(connection, "default", batch_id)
    assert found is not None
    return found


def counts(engine: Engine, batch_id: str) -> dict[str, int]:
    """The counts that are not nought, and the status."""
    found = batch(engine, batch_id)
    names = ("created", "updated", "unchanged", "deleted", "failed")
    some = {name: getattr(found, name) for name in names if getattr(found, name)}
    assert found.done == sum(some.values())
    assert (found.status == "done") is (found.done == found.total)
    return some


def errors(engine: Engine, batch_id: str) -> list[RowError]:
    with reading(engine) as connection:
        return errors_after(connection, batch_id, -1, 1_000)
