"""Fixtures that more than one kind of test stands on: real servers, started here."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.servers.databases import chosen_database, database_of
from tests.servers.stalls import Stalls, watched
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.supervision.embedded_redis import private_redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of this test run's own."""
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    """The database that tests run on which name none."""
    with chosen_database():
        yield


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings on the test's own Redis and folder, free ports, nothing from the environment."""
    return Settings(
        _env_file=None,
        home=tmp_path / "home",
        redis_url=redis_url,
        database_url=database_of(tmp_path / "home"),
        port=0,
        llm_gateway_port=0,
        api_key="test-key-0123456789",
        log_level="DEBUG",
        llm_probe_every_s=0,
    )


@pytest.fixture
async def stalls() -> AsyncIterator[Stalls]:
    """Tells how long something took, less the time in which the machine did not let it run."""
    async with watched() as stalls:
        yield stalls


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    client = connect(settings)
    yield client
    await client.flushdb()
    await client.aclose()
