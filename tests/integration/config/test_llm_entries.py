"""LLM entries from the seal to the envelope to the call: stored, ordered, refused, taken back."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.agent import LlmView
from schemas.config_event import AgentDelete, Change
from tests.integration.config.keys import (
    NOW,
    URL,
    accept,
    change,
    sealed,
    upsert,
)
from tests.integration.config.stored_agents import apply_at
from workers.agent_config.apply import apply_in_order
from workers.agent_config.endpoints import EndpointCheck
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.settling import Outcome
from workers.agent_config.vault import Vault
from workers.errors import ModelError
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.chat import Endpoint
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import key_files, make_key
from workers.settings import Settings
from workers.storage.agents.llm_rows import entries_of
from workers.storage.database import reading, writing
from workers.storage.events.withdrawal import withdraw_events, withdraw_overdue
from workers.turns.entry_reader import EntryReader

KEY = "sk-planted-5d21"


@pytest.fixture
def entries(engine: Engine, stored: Settings) -> EntryReader:
    return EntryReader.of(engine, stored)


def put(engine: Engine, settings: Settings, vault: Vault, event: Change, key: str = KEY) -> Outcome:
    seals = sealed(keys_folder(settings.home_path), event, key)
    until = NOW + timedelta(seconds=5)
    event_id = accept(engine, event, seals, expires_at=until)
    outcome = apply_at(engine, event_id, NOW, vault)
    assert outcome is not None
    return outcome


async def opened(entries: EntryReader, agent_id: str) -> Endpoint:
    (row,) = await entries.read(agent_id)
    return await entries.open(row)


async def key_of(entries: EntryReader, agent_id: str) -> str:
    endpoint = await opened(entries, agent_id)
    assert endpoint.api_key is not None
    assert KEY not in repr(endpoint)
    return endpoint.api_key.get_secret_value()


def text_of(engine: Engine) -> str:
    """Everything in the database, as text."""
    with reading(engine) as connection:
        tables = sa.inspect(connection).get_table_names()
        rows = [connection.exec_driver_sql(f'SELECT * FROM "{name}"').all() for name in tables]
    return repr(rows)


def seals_left(engine: Engine) -> int:
    with reading(engine) as connection:
        query = sa.text("SELECT count(*) FROM config_events WHERE sealed IS NOT NULL")
        return int(connection.execute(query).scalar() or 0)


async def test_a_sealed_key_is_stored_in_an_envelope_and_opens_for_the_call(
    engine: Engine, stored: Settings, vault: Vault, entries: EntryReader
) -> None:
    outcome = put(engine, stored, vault, upsert())
    assert outcome.stored is not None
    assert outcome.stored.agent.llm == (LlmView(base_url=URL, model="m"),)
    endpoint = await opened(entries, outcome.stored.agent.id)
    assert (endpoint.base_url, endpoint.model) == (URL, "m")
    assert await key_of(entries, outcome.stored.agent.id) == KEY
    assert seals_left(engine) == 0
    assert KEY not in text_of(engine)
    assert KEY not in outcome.result.model_dump_json()


async def test_a_change_keeps_what_it_does_not_name_and_replaces_a_list_whole(
    engine: Engine, stored: Settings, vault: Vault, entries: EntryReader
) -> None:
    agent_id = upsert().agent_id
    put(engine, stored, vault, upsert(agent_id=agent_id))
    kept = put(engine, stored, vault, change(agent_id, name="b", greeting="Hi"))
    assert kept.stored is not None
    assert (kept.stored.version, kept.stored.agent.name, kept.stored.agent.greeting) == (
        2,
        "b",
        "Hi",
    )
    assert kept.stored.agent.system_prompt == "b"
    assert await key_of(entries, agent_id) == KEY
    other = LlmView(base_url="https://other.example.com", model="n")
    put(engine, stored, vault, change(agent_id, [other]), "sk-rotated-1")
    assert (await opened(entries, agent_id)).base_url == other.base_url
    assert await key_of(entries, agent_id) == "sk-rotated-1"
    managed = put(engine, stored, vault, change(agent_id, [], greeting=None))
    assert managed.stored is not None
    assert (managed.stored.agent.llm, managed.stored.agent.greeting) == ((), None)
    with reading(engine) as connection:
        assert entries_of(connection, agent_id) == []


async def test_a_deleted_agent_takes_its_keys_along(
    engine: Engine, stored: Settings, vault: Vault, entries: EntryReader
) -> None:
    agent_id = upsert().agent_id
    put(engine, stored, vault, upsert(agent_id=agent_id))
    outcome = put(engine, stored, vault, AgentDelete(agent_id=agent_id, account="default"))
    assert outcome.result.status == "applied"
    assert outcome.gone is not None
    with reading(engine) as connection:
        assert entries_of(connection, agent_id) == []
    with pytest.raises(ModelError):
        await opened(entries, agent_id)
    for event in (change(agent_id, name="b"), AgentDelete(agent_id=agent_id, account="default")):
        refused = put(engine, stored, vault, event)
        assert (refused.result.status, refused.result.code) == ("rejected", "agent_not_found")


def test_another_accounts_agent_is_neither_changed_nor_deleted(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    agent_id = upsert().agent_id
    put(engine, stored, vault, upsert(agent_id=agent_id))
    for event in (
        change(agent_id, name="b").model_copy(update={"account": "other"}),
        AgentDelete(agent_id=agent_id, account="other"),
        upsert(agent_id=agent_id).model_copy(update={"account": "other"}),
    ):
        refused = put(engine, stored, vault, event)
        assert (refused.result.status, refused.result.code) == ("rejected", "agent_not_found")
    with reading(engine) as connection:
        (entry,) = entries_of(connection, agent_id)
    assert entry.account == "default"


def test_events_that_overtake_each_other_are_applied_in_the_order_of_their_acceptance(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    agent_id = upsert().agent_id
    put(engine, stored, vault, upsert(agent_id=agent_id))
    ids = [
        accept(engine, change(agent_id, name=f"n{number}"), at=NOW + timedelta(seconds=number))
        for number in range(1, 4)
    ]
    unrelated = accept(engine, upsert(), at=NOW)
    outcomes = list(apply_in_order(engine, ids[1], lambda: NOW, vault))
    assert [outcome.result.event_id for outcome in outcomes] == ids
    assert list(apply_in_order(engine, ids[0], lambda: NOW, vault)) == []
    last = outcomes[-1]
    assert last.stored is not None
    assert (last.stored.agent.name, last.stored.version) == ("n3", 4)
    assert last.stored.agent.updated_at == NOW + timedelta(seconds=3)
    with reading(engine) as connection:
        status = sa.text("SELECT status FROM config_events WHERE id = :id")
        assert connection.execute(status, {"id": unrelated}).scalar() == "pending"


def test_the_seal_goes_with_whatever_becomes_of_the_event(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    event = upsert()
    seals = sealed(keys_folder(stored.home_path), event, KEY)
    withdrawn, overdue, rejected = (
        accept(engine, event, seals, expires_at=NOW + timedelta(seconds=5)) for _ in range(3)
    )
    assert seals_left(engine) == 3
    with writing(engine) as connection:
        withdraw_events(connection, [withdrawn], NOW)
    assert seals_left(engine) == 2

    def refuse(*_: object) -> None:
        raise ChangeRefusedError("not there", "validation_error", "llm.0.base_url")

    outcome = apply_at(engine, rejected, NOW, vault, refuse)
    assert outcome is not None
    assert (outcome.result.code, outcome.result.param) == ("validation_error", "llm.0.base_url")
    assert seals_left(engine) == 1
    with writing(engine) as connection:
        assert withdraw_overdue(connection, NOW + timedelta(seconds=5)) == 1
    assert seals_left(engine) == 0
    assert apply_at(engine, overdue, NOW, vault) is None


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/v1", "http://llm.example.com", "https://localhost", "https://no.invalid"],
)
def test_an_endpoint_that_may_not_be_called_is_never_stored(
    engine: Engine, stored: Settings, vault: Vault, url: str
) -> None:
    event = upsert(url)
    seals = sealed(keys_folder(stored.home_path), event, KEY)
    with EndpointCheck.open(BaseUrlPolicy(), BaseUrlPolicy()) as check:
        outcome = apply_at(engine, accept(engine, event, seals), NOW, vault, check)
    assert outcome is not None
    assert (outcome.result.status, outcome.result.param) == ("rejected", "llm.0.base_url")
    with reading(engine) as connection:
        assert entries_of(connection, event.agent_id) == []


SWAPS = {
    "the key of another agent": "UPDATE llm_entries SET api_key = (SELECT api_key FROM llm_entries"
    " WHERE agent_id = :other) WHERE agent_id = :one",
    "another account": "UPDATE llm_entries SET account = 'other' WHERE agent_id = :one",
    "another url": "UPDATE llm_entries SET base_url = 'https://evil.example.com'"
    " WHERE agent_id = :one",
    "another place": "UPDATE llm_entries SET entry = 1 WHERE agent_id = :one",
    "another owner": "UPDATE llm_entries SET agent_id = CASE agent_id WHEN :one THEN 'x' ELSE :one"
    " END WHERE agent_id IN (:one, :other)",
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_key_that_was_moved_in_the_database_does_not_open(
    engine: Engine, stored: Settings, vault: Vault, entries: EntryReader, swap: str
) -> None:
    one, other = upsert(), upsert()
    put(engine, stored, vault, one)
    put(engine, stored, vault, other, "sk-other")
    with writing(engine) as connection:
        statement = sa.text(SWAPS[swap])
        given = {"one": one.agent_id, "other": other.agent_id}
        named = {name: value for name, value in given.items() if f":{name}" in SWAPS[swap]}
        connection.execute(statement, named)
    with pytest.raises(ModelError) as caught:
        await opened(entries, one.agent_id)
    assert caught.value.failure == "credentials_unavailable"
    assert KEY not in repr(caught.value)


def test_a_seal_for_another_place_is_refused_and_nothing_is_changed(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    event, other = upsert(), upsert("https://evil.example.com")
    seals = sealed(keys_folder(stored.home_path), other, KEY)
    outcome = apply_at(engine, accept(engine, event, seals), NOW, vault)
    assert outcome is not None
    assert (outcome.result.status, outcome.result.code) == ("rejected", "invalid_request")
    without = apply_at(engine, accept(engine, event), NOW, vault)
    assert without is not None
    assert without.result.status == "rejected"
    with reading(engine) as connection:
        assert entries_of(connection, event.agent_id) == []


async def test_with_its_key_lost_nothing_is_written_or_deleted_and_all_is_back_when_it_is(
    engine: Engine, stored: Settings, vault: Vault, entries: EntryReader
) -> None:
    held = upsert()
    put(engine, stored, vault, held)
    folder = keys_folder(stored.home_path)
    (file,) = key_files(folder)
    backup = file.rename(folder.parent / file.name)

    def fresh() -> tuple[Vault, EntryReader]:
        return Vault(folder, {}), EntryReader.of(engine, stored)

    for _wrong in range(2):  # lost; then another one in its place
        vault, entries = fresh()
        outcome = put(engine, stored, vault, change(held.agent_id, held.llm, name="b"))
        assert (outcome.result.status, outcome.result.code) == ("rejected", "unavailable")
        with pytest.raises(ModelError, match="set it anew"):
            await opened(entries, held.agent_id)
        with reading(engine) as connection:
            assert len(entries_of(connection, held.agent_id)) == 1
        managed = put(engine, stored, vault, change(held.agent_id, name="c"))
        assert managed.result.status == "applied"
        make_key(folder)
    backup.rename(file)
    assert await key_of(entries, held.agent_id) == KEY
    assert put(engine, stored, vault, change(held.agent_id, held.llm)).result.status == "applied"
