"""A new key for an entry that is there: stored for its place, or refused and nothing changed."""

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.agent import LlmView
from schemas.config_event import AgentRotate
from schemas.ids import new_id
from tests.integration.config.keys import NOW, URL, accept, sealed, upsert
from tests.integration.config.stored_agents import apply_at
from tests.integration.config.test_llm_entries import key_of
from workers.agent_config.settling import Outcome
from workers.agent_config.vault import Vault
from workers.secrets.binding import Binding
from workers.secrets.key_files import keys_folder
from workers.secrets.places import place_of_key, renewed_key_place
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.storage.agents.llm_rows import entries_of
from workers.storage.database import reading
from workers.turns.entry_reader import EntryReader

OTHER = "https://other.example.com/v1"


@pytest.fixture
def agent_id(engine: Engine, stored: Settings, vault: Vault) -> str:
    """An agent with a model whose key is sk-old."""
    event = upsert()
    seals = sealed(keys_folder(stored.home_path), event, "sk-old")
    assert apply_at(engine, accept(engine, event, seals), NOW, vault) is not None
    return event.agent_id


def rotate(
    engine: Engine,
    settings: Settings,
    vault: Vault,
    agent_id: str,
    base_url: str | None,
    *,
    model: str | None = None,
    place: Binding | None = None,
) -> Outcome:
    public = read_public_key(keys_folder(settings.home_path), {})
    place = place or renewed_key_place("default", agent_id, base_url, model)
    event = AgentRotate(agent_id=agent_id, account="default", base_url=base_url, model=model)
    event_id = accept(engine, event, (seal(public, SecretStr("sk-new"), place),))
    outcome = apply_at(engine, event_id, NOW, vault)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("base_url", [None, URL])
async def test_the_new_key_is_used_and_all_else_stays(
    engine: Engine, stored: Settings, vault: Vault, agent_id: str, base_url: str | None
) -> None:
    outcome = rotate(engine, stored, vault, agent_id, base_url)
    assert outcome.result.status == "applied"
    assert outcome.stored is not None
    assert outcome.stored.version == 2
    assert outcome.stored.agent.llm[0].base_url == URL
    assert await key_of(EntryReader.of(engine, stored), agent_id) == "sk-new"


async def test_another_endpoint_gets_no_key(
    engine: Engine, stored: Settings, vault: Vault, agent_id: str
) -> None:
    wrong = rotate(engine, stored, vault, agent_id, OTHER).result
    assert (wrong.status, wrong.code, wrong.param) == ("rejected", "validation_error", "base_url")
    assert await key_of(EntryReader.of(engine, stored), agent_id) == "sk-old"


async def test_a_key_that_was_sealed_for_elsewhere_is_refused(
    engine: Engine, stored: Settings, vault: Vault, agent_id: str
) -> None:
    for account, of_agent, base_url, model in (
        ("default", agent_id, OTHER, None),
        ("default", agent_id, OTHER, "m"),
        ("default", agent_id, URL, None),
        ("default", agent_id, URL, "n"),
        ("default", agent_id, None, None),
        ("default", new_id("agent"), URL, "m"),
        ("acme", agent_id, URL, "m"),
    ):
        place = renewed_key_place(account, of_agent, base_url, model)
        swapped = rotate(engine, stored, vault, agent_id, URL, model="m", place=place).result
        assert (swapped.status, swapped.code) == ("rejected", "invalid_request"), place
    assert await key_of(EntryReader.of(engine, stored), agent_id) == "sk-old"


async def test_a_key_that_was_sealed_for_an_entry_is_no_new_key_nor_the_other_way_round(
    engine: Engine, stored: Settings, vault: Vault, agent_id: str
) -> None:
    for base_url in (URL, None):
        place = Binding("default", agent_id, 0, base_url or "")
        swapped = rotate(engine, stored, vault, agent_id, base_url, place=place).result
        assert (swapped.status, swapped.code) == ("rejected", "invalid_request")
    public = read_public_key(keys_folder(stored.home_path), {})
    renewed = seal(public, SecretStr("sk-new"), renewed_key_place("default", agent_id, URL, None))
    event_id = accept(engine, upsert(agent_id=agent_id), (renewed,))
    outcome = apply_at(engine, event_id, NOW, vault)
    assert outcome is not None
    assert (outcome.result.status, outcome.result.code) == ("rejected", "invalid_request")
    assert await key_of(EntryReader.of(engine, stored), agent_id) == "sk-old"


ENTRIES = ((URL, "m"), (OTHER, "m"), (OTHER, "n"), (OTHER, "twice"), (OTHER, "twice"))


def keys_of(engine: Engine, vault: Vault, agent_id: str) -> list[str]:
    """Return the keys of an agent's entries, each read for its place."""
    with reading(engine) as connection:
        entries = entries_of(connection, agent_id)
    return [vault.read(entry.api_key, place_of_key(entry)).get_secret_value() for entry in entries]


@pytest.fixture
def with_fallbacks(engine: Engine, stored: Settings, vault: Vault) -> str:
    """An agent with four fallbacks, all with the key sk-old."""
    llm = tuple(LlmView(base_url=base_url, model=model) for base_url, model in ENTRIES)
    event = upsert().model_copy(update={"llm": llm})
    seals = sealed(keys_folder(stored.home_path), event, "sk-old")
    assert apply_at(engine, accept(engine, event, seals), NOW, vault) is not None
    return event.agent_id


def test_each_entry_can_have_a_new_key_fallbacks_too(
    engine: Engine, stored: Settings, vault: Vault, with_fallbacks: str
) -> None:
    keys = ["sk-old"] * len(ENTRIES)
    for base_url, model, expected in ((OTHER, "n", 2), (OTHER, "m", 1), (URL, None, 0)):
        outcome = rotate(engine, stored, vault, with_fallbacks, base_url, model=model)
        assert outcome.result.status == "applied"
        keys[expected] = "sk-new"
        assert keys_of(engine, vault, with_fallbacks) == keys


def test_which_of_several_is_never_guessed(
    engine: Engine, stored: Settings, vault: Vault, with_fallbacks: str
) -> None:
    for base_url, model, message, param in (
        (None, None, "the agent has several entries: say which by base_url", "base_url"),
        (OTHER, None, "several entries have this base_url: say which by model", "model"),
        (OTHER, "twice", "several entries have this base_url and model: send them anew", "model"),
        (OTHER, "x", "the agent has no such entry", "model"),
        (f"{URL}/x", "m", "the agent has no such entry", "base_url"),
    ):
        result = rotate(engine, stored, vault, with_fallbacks, base_url, model=model).result
        assert (result.status, result.code) == ("rejected", "validation_error")
        assert (result.message, result.param) == (message, param)
    assert keys_of(engine, vault, with_fallbacks) == ["sk-old"] * len(ENTRIES)
