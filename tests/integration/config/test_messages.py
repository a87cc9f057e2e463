"""Messages of other programs: taken once, whoever is first, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine

from schemas.ids import agent_id_of
from tests.integration.config.keys import new_vault
from tests.servers.parts import configure
from workers.agent_config.apply import apply_event
from workers.agent_config.messages import take_message
from workers.agent_config.refusal import ChangeRefusedError
from workers.errors import StorageUnavailableError
from workers.settings import Settings
from workers.storage.config_events import find_event
from workers.storage.database import open_engine, reading

SEALED = {"base_url": "https://8.8.8.8/v1", "model": "m", "sealed_api_key": "x"}
AGENT = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}}


def message(**fields: Any) -> dict[str, Any]:
    name = {"id": "m-1", "account": "default", "external_id": "desk"}
    return {**name, "kind": "agent.upsert", "agent": AGENT, **fields}


def test_the_same_message_many_times_at_once_becomes_one_event(
    engine: Engine, stored: Settings
) -> None:
    vault, gate = new_vault(stored), Barrier(4)

    def take(_: int) -> str | None:
        gate.wait(10)
        return take_message(engine, vault, message())

    with ThreadPoolExecutor(4) as pool:
        taken = [event_id for event_id in pool.map(take, range(4)) if event_id]
    assert len(taken) == 1
    with reading(engine) as connection:
        event = find_event(connection, taken[0])
    assert event is not None
    assert event.change.agent_id == agent_id_of("default", "desk")
    assert apply_event(engine, taken[0], event.accepted_at) is not None
    assert take_message(engine, vault, message(agent={**AGENT, "name": "other"})) is None
    assert take_message(engine, vault, message(id="m-2")) is not None


def test_while_the_database_is_away_nothing_is_taken(settings: Settings) -> None:
    away = open_engine(configure(settings, database_url="postgresql+psycopg:///x?host=/nowhere"))
    with pytest.raises(StorageUnavailableError):
        take_message(away, new_vault(settings), message())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"account": "nobody"}, "account: there is none of this name"),
        ({"agent": {**AGENT, "planted": 1}}, "not valid: agent.upsert.agent.…"),
        ({"planted": 1, "kind": "agent.delete"}, "not valid: agent.delete.agent, agent.delete.…"),
        ({"agent_id": "agent_" + "0" * 32}, "not valid: agent.upsert"),
        ({"llm": [SEALED] * 2}, "llm: holds more than 1 entry"),
        ({"llm": [SEALED] * 9}, "not valid: agent.upsert.llm"),
    ],
)
def test_a_refusal_names_fields_of_ours_alone(
    engine: Engine, stored: Settings, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ChangeRefusedError) as refusal:
        take_message(engine, new_vault(stored), message(**fields))
    assert str(refusal.value) == reason
