"""A new key for an entry that is there: stored for its place, or refused and nothing changed."""

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.config_event import AgentRotate
from schemas.ids import new_id
from tests.integration.config.keys import NOW, URL, accept, new_vault, sealed, upsert
from tests.integration.config.test_llm_entries import key_of
from workers.agent_config.apply import Outcome, apply_event
from workers.agent_config.vault import Vault
from workers.secrets.binding import Binding
from workers.secrets.key_files import keys_folder
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.turns.models import EntryReader

OTHER = "https://other.example.com/v1"


@pytest.fixture
def vault(stored: Settings) -> Vault:
    return new_vault(stored)


@pytest.fixture
def agent_id(engine: Engine, stored: Settings, vault: Vault) -> str:
    """An agent with a model whose key is sk-old."""
    event = upsert()
    seals = sealed(keys_folder(stored.home_path), event, "sk-old")
    assert apply_event(engine, accept(engine, event, seals), NOW, vault) is not None
    return event.agent_id


def rotate(
    engine: Engine,
    settings: Settings,
    vault: Vault,
    agent_id: str,
    base_url: str | None,
    *,
    sealed_for: str | None = None,
) -> Outcome:
    public = read_public_key(keys_folder(settings.home_path), {})
    place = Binding("default", agent_id, 0, sealed_for or base_url or "")
    event = AgentRotate(agent_id=agent_id, account="default", base_url=base_url)
    event_id = accept(engine, event, (seal(public, SecretStr("sk-new"), place),))
    outcome = apply_event(engine, event_id, NOW, vault)
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
    swapped = rotate(engine, stored, vault, agent_id, None, sealed_for=OTHER).result
    assert (swapped.status, swapped.code) == ("rejected", "unavailable")
    assert await key_of(EntryReader.of(engine, stored), agent_id) == "sk-old"


def test_without_an_agent_or_a_model_of_its_own_there_is_no_key_to_replace(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    gone = rotate(engine, stored, vault, new_id("agent"), None).result
    assert (gone.status, gone.code) == ("rejected", "agent_not_found")
    managed = upsert().model_copy(update={"llm": ()})
    assert apply_event(engine, accept(engine, managed), NOW, vault) is not None
    none = rotate(engine, stored, vault, managed.agent_id, None).result
    assert (none.status, none.message) == ("rejected", "the agent has no model of its own")
