"""A gateway and a config worker as processes, on each database in turn."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from schemas.account import SCOPES
from tests.servers.accounts import AGENT, Keys, make_account, make_key
from tests.servers.parts import Part, configure, flush, running_config_worker, running_gateway
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.webhooks import Sender, new_sender
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.database import open_engine


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def module_settings(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home: Path = tmp_path_factory.mktemp("home")
    return Settings(_env_file=None, home=home, redis_url=redis_url, port=0, llm_probe_every_s=0)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def system_settings(request: pytest.FixtureRequest, module_settings: Settings) -> Settings:
    """Settings on each of the two databases."""
    home = module_settings.home / request.param
    if request.param == "sqlite":
        return configure(module_settings, home=home)
    server: Postgres = request.getfixturevalue("postgres")
    return configure(module_settings, home=home, database_url=server.new_database())


@pytest.fixture(scope="module")
def gateway(system_settings: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    flush(system_settings)
    make_missing_keys(keys_folder(system_settings.home_path), {})
    with running_gateway(system_settings) as running, running_config_worker(system_settings):
        yield running


@pytest.fixture
def client(gateway: tuple[Part, httpx.Client]) -> httpx.Client:
    return gateway[1]


@pytest.fixture(scope="module")
def keys(system_settings: Settings) -> Keys:
    make_account(system_settings, "acme")
    own = {scope: make_key(system_settings, scope) for scope in SCOPES}
    return Keys(**own, other=make_key(system_settings, "admin", account="acme"))


@pytest.fixture
def agent_id(client: httpx.Client) -> str:
    answer = client.post("/v1/agents", json=AGENT)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def engine(system_settings: Settings) -> Iterator[Engine]:
    engine = open_engine(system_settings)
    yield engine
    engine.dispose()


@pytest.fixture
def sender(client: httpx.Client) -> Sender:
    """A source of its own with the secret that was made for it."""
    return new_sender(client, f"from-{secrets.token_hex(4)}")
