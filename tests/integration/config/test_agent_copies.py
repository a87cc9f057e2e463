"""The copies of agents in Redis that turns read, and what serves while a part is away."""

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.apology import Apology, wording_of
from schemas.config_event import ConfigResult
from schemas.ids import new_id
from tests.integration.config.stored_agents import change, store
from tests.servers.parts import configure
from workers.agent_config.batch_task import renew_copies
from workers.agent_config.settling import Outcome
from workers.agent_config.tasks import announce_results
from workers.errors import StorageUnavailableError
from workers.settings import Settings
from workers.storage.agents.apologies import Apologies
from workers.storage.agents.copies import STORE_COPY, copy_arguments, copy_key
from workers.storage.agents.lookup import AgentStore
from workers.storage.database import open_engine, writing
from workers.storage.redis_client import connect, connect_blocking


async def test_the_store_finds_agents_of_the_account_that_asks(
    engine: Engine, redis: Redis
) -> None:
    agents = AgentStore(engine, redis)
    mine = store(engine, change()).agent
    assert await agents.get(mine.id) == mine
    assert await agents.get(mine.id, "default") == mine
    assert await agents.get(mine.id, "other") is None
    assert await agents.get(new_id("agent")) is None


async def test_a_copy_serves_while_the_database_is_away(
    engine: Engine, redis: Redis, settings: Settings
) -> None:
    mine = store(engine, change()).agent
    await AgentStore(engine, redis).get(mine.id)
    await redis.expire(copy_key(mine.id), 3600)  # an old one
    gone = open_engine(configure(settings, database_url="postgresql+psycopg:///x?host=/nowhere"))
    agents = AgentStore(gone, redis)
    assert await agents.get(mine.id) == mine
    with pytest.raises(StorageUnavailableError):
        await agents.get(new_id("agent"))


async def test_a_copy_serves_while_the_database_hangs(
    engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = store(engine, change()).agent
    agents = AgentStore(engine, redis)
    await agents.get(mine.id)
    await redis.expire(copy_key(mine.id), 3600)  # an old one
    answers = threading.Event()
    monkeypatch.setattr(agents, "_row", lambda _agent_id: answers.wait())
    try:
        async with asyncio.timeout(1.0):
            assert await agents.get(mine.id) == mine
    finally:
        answers.set()


async def test_without_redis_the_database_answers(engine: Engine, settings: Settings) -> None:
    mine = store(engine, change()).agent
    nowhere = connect(configure(settings, redis_url="unix:///nowhere/redis.sock"))
    assert await AgentStore(engine, nowhere).get(mine.id) == mine
    await nowhere.aclose()


async def test_an_old_copy_is_looked_up_again(engine: Engine, redis: Redis) -> None:
    agents = AgentStore(engine, redis)
    first = store(engine, change()).agent
    await agents.get(first.id)
    store(engine, change("b", agent_id=first.id))
    assert (await agents.get(first.id)) == first
    await redis.expire(copy_key(first.id), 3600)
    found = await agents.get(first.id)
    assert found is not None
    assert found.name == "b"


async def test_an_agent_that_is_gone_leaves_no_copy(engine: Engine, redis: Redis) -> None:
    agents = AgentStore(engine, redis)
    mine = store(engine, change()).agent
    await agents.get(mine.id)
    with writing(engine) as connection:
        connection.execute(sa.text("DELETE FROM agents"))
    await redis.expire(copy_key(mine.id), 3600)
    assert await agents.get(mine.id) is None
    assert await redis.exists(copy_key(mine.id)) == 0


async def test_a_late_reader_does_not_put_an_older_copy_back(engine: Engine, redis: Redis) -> None:
    older = store(engine, change())
    newer = store(engine, change("b", agent_id=older.agent.id))
    key = copy_key(older.agent.id)
    assert await redis.eval(STORE_COPY, 1, key, *copy_arguments(newer)) == 1
    assert await redis.eval(STORE_COPY, 1, key, *copy_arguments(older)) == 0
    found = await AgentStore(engine, redis).get(older.agent.id)
    assert found is not None
    assert found.name == "b"


async def test_a_copy_of_another_release_is_read_anew(engine: Engine, redis: Redis) -> None:
    mine = store(engine, change()).agent
    await redis.hset(copy_key(mine.id), mapping={"version": 1, "body": "{}"})
    assert await AgentStore(engine, redis).get(mine.id) == mine


@pytest.mark.parametrize("told", [announce_results, renew_copies])
async def test_an_agent_that_is_deleted_leaves_no_apology(
    engine: Engine,
    redis: Redis,
    settings: Settings,
    told: Callable[[BlockingRedis, list[Outcome]], None],
) -> None:
    apologies, mine = Apologies(redis), store(engine, change())
    apology = Apology(wording=wording_of(mine.agent), packets=(b"\x78",))
    await apologies.keep(mine.agent.id, apology)
    event = ConfigResult(event_id=new_id("event"), status="applied")
    with connect_blocking(settings) as blocking:
        told(blocking, [Outcome(event, stored=mine)])
        assert await apologies.read(mine.agent.id) == apology
        told(blocking, [Outcome(event, gone=mine)])
    assert await apologies.read(mine.agent.id) is None
