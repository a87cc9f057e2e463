"""A gateway and a config worker as processes, on each database in turn."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from schemas.account import SCOPES
from tests.servers.accounts import AGENT, OTHER_ACCOUNT, Keys, make_account, make_key
from tests.servers.parts import Part, configure, flush, running_config_worker, running_gateway
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.webhooks import Sender, new_sender
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.database import open_engine
from workers.supervision.embedded_redis import private_redis

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@dataclass(frozen=True)
class System:
    """A gateway and a config worker that run, with keys of every scope."""

    settings: Settings
    gateway: tuple[Part, httpx.Client]
    keys: Keys


class Systems:
    """A system for each database, which all files share that need none of their own.

    Each has a Redis of its own: config workers on one Redis would take each other's events.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: dict[Path, System] = {}

    def start(self, database: str, database_url: str | None) -> System:
        """Return the system on this database, started if it does not run yet."""
        home = self._folder / database
        if home not in self._running:
            settings = Settings(
                _env_file=None,
                home=home,
                redis_url=self._stack.enter_context(private_redis(home / "redis")),
                database_url=database_url,
                port=0,
                llm_probe_every_s=0,
            )
            gateway = self._stack.enter_context(running_system(settings))
            self._running[home] = System(settings, gateway, new_keys(settings))
        return self._running[home]

    def at(self, settings: Settings) -> System | None:
        """Return the one with these settings, if it is one of these."""
        return self._running.get(settings.home_path)


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    with contextlib.ExitStack() as stack:
        yield Systems(tmp_path_factory.mktemp("systems"), stack)


@pytest.fixture(scope="module", params=DATABASES)
def system_settings(request: pytest.FixtureRequest, systems: Systems) -> Settings:
    """Settings of the system that files share, on each of the two databases."""
    name: str = request.param
    return systems.start(name, database_url(request, name)).settings


@pytest.fixture(scope="module")
def module_settings(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home: Path = tmp_path_factory.mktemp("home")
    return Settings(_env_file=None, home=home, redis_url=redis_url, port=0, llm_probe_every_s=0)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def own_settings(request: pytest.FixtureRequest, module_settings: Settings) -> Settings:
    """Settings of a system of the file's own, on each of the two databases."""
    name: str = request.param
    home = module_settings.home / name
    return configure(module_settings, home=home, database_url=database_url(request, name))


def database_url(request: pytest.FixtureRequest, name: str) -> str | None:
    if name == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="module")
def gateway(system_settings: Settings, systems: Systems) -> Iterator[tuple[Part, httpx.Client]]:
    if shared := systems.at(system_settings):
        yield shared.gateway
        return
    flush(system_settings)
    with running_system(system_settings) as running:
        yield running


@contextlib.contextmanager
def running_system(settings: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    make_missing_keys(keys_folder(settings.home_path), {})
    with running_gateway(settings) as running, running_config_worker(settings):
        yield running


@pytest.fixture
def client(gateway: tuple[Part, httpx.Client]) -> httpx.Client:
    return gateway[1]


@pytest.fixture(scope="module")
def keys(system_settings: Settings, systems: Systems) -> Keys:
    shared = systems.at(system_settings)
    return new_keys(system_settings) if shared is None else shared.keys


def new_keys(settings: Settings) -> Keys:
    make_account(settings, OTHER_ACCOUNT)
    own = {scope: make_key(settings, scope) for scope in SCOPES}
    return Keys(**own, other=make_key(settings, "admin", account=OTHER_ACCOUNT))


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
