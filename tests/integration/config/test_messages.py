"""Messages of other programs: taken once, whoever is first, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.agent import too_many
from schemas.config_event import ConfigResult
from schemas.ids import agent_id_of
from tests.integration.config.keys import NOW, new_vault
from tests.integration.config.rested import RESTED, report
from tests.integration.config.stored_agents import apply_at
from tests.servers.parts import configure
from workers.agent_config.messages import take_message
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.vault import Vault
from workers.errors import StorageUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.places import (
    header_place,
    place_of_header,
    place_of_key,
    renewed_key_place,
)
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.storage.agents.llm_rows import entries_of
from workers.storage.agents.tool_rows import headers_of
from workers.storage.database import open_engine, reading
from workers.storage.events.reports import report_event

SEALED = {"base_url": "https://8.8.8.8/v1", "model": "m", "sealed_api_key": "x"}
TOOL = {"name": "t", "description": "d"}
TOOL_URL = "https://8.8.8.8/t/"
AGENT = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}}


NAMED = {"id": "m-1", "account": "default", "external_id": "desk"}


def message(**fields: Any) -> dict[str, Any]:
    return {**NAMED, "kind": "agent.upsert", "agent": AGENT, **fields}


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
        event = report_event(connection, taken[0])
    assert event is not None
    assert event.agent_id == agent_id_of("default", "desk")
    assert apply_at(engine, taken[0], event.accepted_at) is not None
    assert take_message(engine, vault, message(agent={**AGENT, "name": "other"})) is None
    assert take_message(engine, vault, message(id="m-2")) is not None


def test_by_its_id_an_agent_is_replaced_and_none_is_made(engine: Engine, stored: Settings) -> None:
    vault = new_vault(stored)

    def apply(number: int, **fields: Any) -> ConfigResult:
        event_id = take_message(engine, vault, message(id=f"m-{number}", **fields))
        assert event_id is not None
        outcome = apply_at(engine, event_id, NOW, vault)
        assert outcome is not None
        return outcome.result

    by_id: dict[str, Any] = {"external_id": None, "agent_id": DESK}
    assert apply(1, **by_id).code == "agent_not_found"
    first = apply(2, agent={**AGENT, "greeting": "Hello."}, tools=[TOOL]).record
    assert first is not None
    after = apply(3, **by_id, agent={**AGENT, "name": "second"}).record
    assert after is not None
    changed = {"name": "second", "greeting": None, "updated_at": after.updated_at}
    assert after == first.model_copy(update=changed)
    assert (after.external_id, len(after.tools)) == ("desk", 1)


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
        ({"llm": [SEALED] * 2}, f"llm: {too_many(1)}"),
        ({"llm": [SEALED] * 9}, "not valid: agent.upsert.llm"),
        ({"tools": [TOOL] * 2}, "not valid: agent.upsert.tools"),
        ({"tools": [{**TOOL, "planted": 1}]}, "not valid: agent.upsert.tools.0.…"),
    ],
)
def test_a_refusal_names_fields_of_ours_alone(
    engine: Engine, stored: Settings, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ChangeRefusedError) as refusal:
        take_message(engine, new_vault(stored), message(**fields))
    assert str(refusal.value) == reason


DESK = agent_id_of("default", "desk")
URL = "https://8.8.8.8/v1"


def sealed(settings: Settings, secret: str, place: Binding) -> str:
    return seal(read_public_key(keys_folder(settings.home_path), {}), SecretStr(secret), place)


def with_header(value: str, url: str = TOOL_URL) -> list[dict[str, Any]]:
    headers = [{"name": "X-Key", "sealed_value": value}]
    return [TOOL, {**TOOL, "name": "u", "http": {"url": url, "headers": headers}}]


def test_tools_and_new_keys_come_sealed_and_are_stored_for_their_places(
    engine: Engine, stored: Settings
) -> None:
    vault = new_vault(stored)
    key = sealed(stored, "sk-old", Binding("default", DESK, 0, URL))
    value = sealed(stored, "v-1", header_place("default", DESK, 0, ("u", TOOL_URL), "X-Key"))
    new_key = sealed(stored, "sk-new", renewed_key_place("default", DESK, URL, None))
    changes: list[dict[str, Any]] = [
        message(
            llm=[{"base_url": URL, "model": "m", "sealed_api_key": key}], tools=with_header(value)
        ),
        {**NAMED, "kind": "agent.change", "changes": {"greeting": "Hi."}},
        {**NAMED, "kind": "agent.llm.rotate", "base_url": URL, "sealed_api_key": new_key},
    ]
    for number, each in enumerate(changes):
        event_id = take_message(engine, vault, {**each, "id": f"m-{number}"})
        assert event_id is not None
        outcome = apply_at(engine, event_id, NOW, vault)
        assert outcome is not None
        assert outcome.result.status == "applied"
    with reading(engine) as connection:
        (entry,) = entries_of(connection, DESK)
        (header,) = headers_of(connection, DESK, "u")
    assert vault.read(entry.api_key, place_of_key(entry)).get_secret_value() == "sk-new"
    assert vault.read(header.value, place_of_header(header)).get_secret_value() == "v-1"


def test_a_value_sealed_for_a_pair_that_is_not_here_waits_for_its_private_key(
    engine: Engine, stored: Settings
) -> None:
    vault = new_vault(stored)
    keys = keys_folder(stored.home_path)
    key = sealed(stored, "sk", Binding("default", DESK, 0, URL))
    for name in ("private", "public"):
        (keys / f"sealing.{name}").rename(keys.parent / f"sealing.{name}")
    make_missing_keys(keys, {})
    sent = message(llm=[{"base_url": URL, "model": "m", "sealed_api_key": key}])
    event_id = take_message(engine, vault, sent)
    assert event_id is not None
    assert apply_at(engine, event_id, NOW, vault) is None
    assert report(engine, event_id).message == "keys_unavailable"
    for name in ("private", "public"):
        (keys.parent / f"sealing.{name}").rename(keys / f"sealing.{name}")
    outcome = apply_at(engine, event_id, RESTED, Vault(keys, {}))
    assert outcome is not None
    assert outcome.result.status == "applied"


def test_a_sealed_value_for_elsewhere_is_refused_with_its_field(
    engine: Engine, stored: Settings
) -> None:
    vault = new_vault(stored)
    tool, elsewhere = ("u", TOOL_URL), "the sealed value is damaged or not for here"
    of_entry = sealed(stored, "k", Binding("default", DESK, 0, URL))
    rotate = {**NAMED, "kind": "agent.llm.rotate", "base_url": URL}
    field = "tools.1.http.headers.0.sealed_value"
    places = (
        header_place("default", DESK, 1, tool, "X-Key"),
        header_place("default", DESK, 0, ("t", TOOL_URL), "X-Key"),
        header_place("default", DESK, 0, ("u", TOOL_URL[:-1]), "X-Key"),
        header_place("default", DESK, 0, tool, "X-Other"),
        header_place("acme", DESK, 0, tool, "X-Key"),
        Binding("default", DESK, 0, TOOL_URL),
    )
    wrong: list[tuple[dict[str, Any], str]] = [
        (message(tools=with_header(sealed(stored, "v", place))), f"{field}: {elsewhere}")
        for place in places
    ]
    here = header_place("default", DESK, 0, tool, "X-Key")
    odd = "https://8.8.8.8:443/t"
    rotated = renewed_key_place("default", DESK, URL, None)
    wrong += [
        (message(tools=with_header(sealed(stored, "a\n", here))), f"not valid: {field}"),
        (message(tools=with_header("x", odd)), "tools.1.http.url: not in its normal form"),
        ({**rotate, "sealed_api_key": of_entry}, f"sealed_api_key: {elsewhere}"),
        (
            {**rotate, "model": "m", "sealed_api_key": sealed(stored, "k", rotated)},
            f"sealed_api_key: {elsewhere}",
        ),
        (
            {**rotate, "sealed_api_key": sealed(stored, "a b", rotated)},
            "not valid: sealed_api_key",
        ),
        (
            {**rotate, "base_url": f"{URL}/", "sealed_api_key": "x"},
            "base_url: not in its normal form",
        ),
    ]
    for sent, reason in wrong:
        with pytest.raises(ChangeRefusedError) as refusal:
            take_message(engine, vault, sent)
        assert str(refusal.value) == reason
