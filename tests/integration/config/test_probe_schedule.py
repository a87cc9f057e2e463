"""When entries are probed, and by whom: on both databases, with a model on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.agent import LlmView
from schemas.config_event import Change
from schemas.llm_health import EntryHealth
from tests.integration.config.keys import NOW, accept, change, sealed, upsert
from tests.integration.config.stored_agents import apply_at
from tests.servers.parts import configure
from tests.servers.probed_model import ProbedModel
from workers.agent_config.probing import (
    LOOKED_AT,
    PER_ACCOUNT,
    PER_ENDPOINT,
    Prober,
    ProbeWork,
)
from workers.agent_config.vault import Vault
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import key_files
from workers.settings import Settings
from workers.storage.agents.probe_rows import ask_for_probe, health_of, probe_those_lost
from workers.storage.database import reading, writing

EVERY_S = 1_000.0


@pytest.fixture
async def model() -> AsyncIterator[ProbedModel]:
    async with ProbedModel() as server:
        yield server


@pytest.fixture
def allowed(stored: Settings, model: ProbedModel) -> Settings:
    where = urlsplit(model.base_url).netloc
    return configure(stored, llm_allow=where, llm_probe_every_s=EVERY_S, llm_first_token_s=2.0)


@pytest.fixture
def prober(engine: Engine, allowed: Settings, vault: Vault) -> Prober:
    return Prober(ProbeWork(engine, vault.keys.find, allowed))


def store(engine: Engine, settings: Settings, vault: Vault, event: Change) -> str:
    seals = sealed(keys_folder(settings.home_path), event, "sk-1")
    outcome = apply_at(engine, accept(engine, event, seals), NOW, vault)
    assert outcome is not None
    assert outcome.stored is not None
    return outcome.stored.agent.id


def health(engine: Engine, agent_id: str, *, scheduled: bool = True) -> EntryHealth:
    with reading(engine) as connection:
        (entry,) = health_of(connection, agent_id, datetime.now(UTC), scheduled=scheduled)
    return entry


def ask(engine: Engine, agent_id: str) -> None:
    with writing(engine) as connection:
        ask_for_probe(connection, agent_id, datetime.now(UTC))


def let_time_pass(engine: Engine) -> None:
    """Let schedules and leases come to their end."""
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE llm_entries SET probe_due_at = 1"))


async def test_a_stored_entry_is_probed_once_although_several_look_and_again_in_its_time(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel, prober: Prober
) -> None:
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    before = health(engine, agent_id)
    assert (before.status, before.pending, before.checked_at) == ("unknown", True, None)
    others = [Prober(ProbeWork(engine, vault.keys.find, allowed)) for _ in range(3)]

    counts = await asyncio.gather(*(each.work_off() for each in (prober, *others)))

    assert sorted(counts) == [0, 0, 0, 1]
    assert len(model.texts) == 1
    found = health(engine, agent_id)
    assert (found.status, found.pending, found.tools) == ("ok", False, "called")
    assert (found.base_url, found.model) == (model.base_url, "m")
    with reading(engine) as connection:
        due = connection.execute(sa.text("SELECT probe_due_at FROM llm_entries")).scalar_one()
    left_s = due / 1e6 - datetime.now(UTC).timestamp()
    assert 0.79 * EVERY_S < left_s < 1.21 * EVERY_S
    assert await prober.work_off() == 0

    model.script = "401"
    let_time_pass(engine)
    assert await prober.work_off() == 1
    again = health(engine, agent_id)
    assert (again.status, again.reason, again.status_code) == ("failing", "http_4xx", 401)
    assert again.checked_at is not None
    assert found.checked_at is not None
    assert again.checked_at > found.checked_at


async def test_without_a_schedule_only_what_somebody_asks_about_is_probed(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel
) -> None:
    quiet = Prober(ProbeWork(engine, vault.keys.find, configure(allowed, llm_probe_every_s=0)))
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    assert await quiet.work_off() == 0
    assert not health(engine, agent_id, scheduled=False).pending
    ask(engine, agent_id)
    assert health(engine, agent_id, scheduled=False).pending
    assert await quiet.work_off() == 1
    assert health(engine, agent_id, scheduled=False).status == "ok"
    let_time_pass(engine)
    assert await quiet.work_off() == 0


async def test_what_was_found_of_an_entry_that_was_replaced_meanwhile_is_dropped(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel, prober: Prober
) -> None:
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    model.script = "stall"
    probing = asyncio.create_task(prober.work_off())
    await model.wait_for_request()
    ask(engine, agent_id)
    other = LlmView(base_url=model.base_url, model="n")
    await asyncio.to_thread(store, engine, allowed, vault, change(agent_id, [other]))
    assert await probing == 1
    found = health(engine, agent_id)
    assert (found.model, found.status, found.pending) == ("n", "unknown", True)

    model.script = None
    assert await prober.work_off() == 1
    assert health(engine, agent_id).status == "ok"


async def test_the_lease_of_a_prober_that_died_runs_out_and_another_probes(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel, prober: Prober
) -> None:
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    model.script = "stall"
    dying = asyncio.create_task(Prober(ProbeWork(engine, vault.keys.find, allowed)).work())
    await model.wait_for_request()
    dying.cancel()
    model.script = None
    ask(engine, agent_id)
    assert await prober.work_off() == 0, "its lease is still good"
    assert health(engine, agent_id).pending
    let_time_pass(engine)
    assert await prober.work_off() == 1
    assert health(engine, agent_id).status == "ok"


async def test_a_batch_on_one_endpoint_becomes_no_storm_and_holds_no_other_up(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel
) -> None:
    async with ProbedModel() as other:
        where = f"{allowed.llm_allow},{urlsplit(other.base_url).netloc}"
        prober = Prober(ProbeWork(engine, vault.keys.find, configure(allowed, llm_allow=where)))
        many = [
            await asyncio.to_thread(store, engine, allowed, vault, upsert(model.base_url))
            for _ in range(LOOKED_AT + 2)
        ]
        for agent_id in many:
            ask(engine, agent_id)
        last = await asyncio.to_thread(store, engine, allowed, vault, upsert(other.base_url))
        model.pace.ttft_s = 0.1
        assert await prober.work_off() == PER_ENDPOINT + 1
    assert model.most_under_way <= PER_ENDPOINT
    assert health(engine, last).status == "ok"
    assert sum(health(engine, agent_id).status == "ok" for agent_id in many) == PER_ENDPOINT
    assert await prober.work_off() == PER_ENDPOINT, "the next two"


async def test_an_account_that_has_all_of_its_entries_probed_leaves_room_for_others(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel, prober: Prober
) -> None:
    for number in range(LOOKED_AT + 2):
        entry = upsert(f"{model.base_url}/{number}")
        ask(engine, await asyncio.to_thread(store, engine, allowed, vault, entry))
    others = upsert(model.base_url).model_copy(update={"account": "other"})
    agent_id = await asyncio.to_thread(store, engine, allowed, vault, others)
    assert await prober.work_off() == PER_ACCOUNT + 1
    assert health(engine, agent_id).status == "ok"


async def test_a_key_that_cannot_be_opened_is_failing_and_nobody_is_called(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel, prober: Prober
) -> None:
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE llm_entries SET account = 'other'"))
    assert await prober.work_off() == 1
    found = health(engine, agent_id)
    assert (found.status, found.reason) == ("failing", "credentials_unavailable")
    assert not model.requests


async def test_a_worker_that_starts_finds_which_keys_were_lost_and_which_are_back(
    engine: Engine, allowed: Settings, vault: Vault, model: ProbedModel
) -> None:
    agent_id = store(engine, allowed, vault, upsert(model.base_url))
    folder = keys_folder(allowed.home_path)
    (file,) = key_files(folder)

    async def start() -> int:
        """A worker's first look, with the keys that are there now."""
        fresh = Vault(folder, {})
        with writing(engine) as connection:
            probe_those_lost(connection, fresh.keys_here())
        return await Prober(ProbeWork(engine, fresh.keys.find, allowed)).work_off()

    assert await start() == 1
    assert health(engine, agent_id).status == "ok"
    assert await start() == 0, "what opens is left to its schedule"
    away = file.rename(folder.parent / file.name)
    assert await start() == 1
    assert health(engine, agent_id).reason == "credentials_unavailable"
    away.rename(file)
    assert await start() == 1
    assert health(engine, agent_id).status == "ok"
