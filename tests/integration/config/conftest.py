"""An empty, migrated database, on SQLite and on PostgreSQL in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.integration.config.keys import new_vault
from tests.servers.parts import configure
from tests.servers.postgres import Postgres, running_postgres
from workers.agent_config.vault import Vault
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.database import open_engine
from workers.storage.upgrade import upgrade_engine


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings on each of the two databases, still empty."""
    if request.param == "sqlite":
        return configure(settings, database_url=None)
    server: Postgres = request.getfixturevalue("postgres")
    return configure(settings, database_url=server.new_database())


@pytest.fixture
def engine(stored: Settings) -> Iterator[Engine]:
    engine = open_engine(stored)
    upgrade_engine(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def keys(stored: Settings) -> Path:
    """The folder with keys just made."""
    new_vault(stored)
    return keys_folder(stored.home_path)


@pytest.fixture
def vault(keys: Path) -> Vault:
    return Vault(keys, {})
