"""Headers of tools from the seal to the envelope, and on to another key."""

from functools import partial

from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.config_event import AgentChange, AgentUpsert
from schemas.tool import HttpToolView, ToolHeaderView, ToolView
from tests.integration.config.keys import NOW, accept, change, sealed, upsert
from tests.integration.config.stored_agents import apply_at
from workers.agent_config.settling import Outcome
from workers.agent_config.vault import Vault
from workers.secrets.envelope import decrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyRingReader, key_files, read_key_ring
from workers.secrets.places import header_place, place_of_header
from workers.secrets.rotation import list_keys, rotate
from workers.secrets.sealing import read_public_key, seal
from workers.settings import Settings
from workers.storage.agents.tool_rows import StoredHeader, headers_of
from workers.storage.database import reading

URL = "https://tool.example.com/weather"
TOOL = ToolView(
    name="weather",
    description="Tells it.",
    http=HttpToolView(url=URL, headers=(ToolHeaderView(name="A"), ToolHeaderView(name="B"))),
)


def put(
    engine: Engine, settings: Settings, vault: Vault, event: AgentUpsert | AgentChange
) -> Outcome:
    folder = keys_folder(settings.home_path)
    public = read_public_key(folder, {})
    values = tuple(
        seal(
            public,
            SecretStr(f"value {name}"),
            header_place(event.account, event.agent_id, number, ("weather", URL), name),
        )
        for number, name in enumerate("AB" if event.tools else "")
    )
    seals = sealed(folder, event, "sk-llm") + values
    outcome = apply_at(engine, accept(engine, event, seals), NOW, vault)
    assert outcome is not None
    return outcome


def kept(engine: Engine, agent_id: str) -> list[StoredHeader]:
    with reading(engine) as connection:
        return headers_of(connection, agent_id, "weather")


def opened(engine: Engine, keys: KeyRingReader, agent_id: str) -> list[str]:
    return [
        decrypt(keys.find, header.value, place_of_header(header)).get_secret_value()
        for header in kept(engine, agent_id)
    ]


def test_values_open_in_their_place_after_changes_and_under_a_new_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    folder = keys_folder(stored.home_path)
    keys = KeyRingReader(partial(read_key_ring, folder, {}))
    event = upsert().model_copy(update={"tools": (TOOL,)})
    agent_id = event.agent_id
    assert put(engine, stored, vault, event).result.status == "applied"
    assert opened(engine, keys, agent_id) == ["value A", "value B"]

    put(engine, stored, vault, change(agent_id, llm=[]))
    put(engine, stored, vault, change(agent_id, name="Other"))
    assert opened(engine, keys, agent_id) == ["value A", "value B"]

    (old,) = key_files(folder)
    done = rotate(engine, keys, folder)
    assert (done.moved, done.lost) == (2, ())
    assert {header.key_id for header in kept(engine, agent_id)} == {done.key_id}
    uses = {use.id: use.values for use in list_keys(engine, list(keys.ring().keys))}
    assert sorted(uses.values()) == [0, 2]
    old.unlink()
    afresh = KeyRingReader(partial(read_key_ring, folder, {}))
    assert opened(engine, afresh, agent_id) == ["value A", "value B"]

    without = change(agent_id).model_copy(update={"tools": ()})
    assert put(engine, stored, vault, without).result.status == "applied"
    assert kept(engine, agent_id) == []


def test_values_that_are_missing_or_of_another_place_are_refused(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    event = upsert().model_copy(update={"tools": (TOOL,), "llm": ()})
    outcome = apply_at(engine, accept(engine, event), NOW, vault)
    assert outcome is not None
    assert outcome.result.status == "rejected"
    public = read_public_key(keys_folder(stored.home_path), {})
    place = header_place("default", event.agent_id, 0, ("weather", "https://evil.example.com"), "A")
    stolen = seal(public, SecretStr("x"), place)
    outcome = apply_at(engine, accept(engine, event, (stolen, stolen)), NOW, vault)
    assert outcome is not None
    assert (outcome.result.status, outcome.stored) == ("rejected", None)
    assert kept(engine, event.agent_id) == []
