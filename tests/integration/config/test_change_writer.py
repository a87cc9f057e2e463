"""Changes that come at one time share a transaction and a message, and nothing else."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis.asyncio import Redis
from sqlalchemy import Engine, event, func, select

from schemas.agent import AgentCreate, Voice
from schemas.config_event import CONFIG_QUEUE, MOST_AT_ONCE, ConfigResult, ConfigTask
from tests.integration.config.stored_agents import apply_at, change
from tests.servers.parts import configure, flush, running_config_worker
from tests.servers.waiting import wait_for
from workers.celery_app import make_celery
from workers.errors import StorageUnavailableError
from workers.gateway.configuring import change_writer
from workers.gateway.configuring.agent_changes import AgentChanges
from workers.gateway.configuring.change_writer import WAIT_S, ChangeWriter, Written
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.configuring.tool_sealer import ToolSealer
from workers.gateway.rest_errors import ApiError
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.settings import Settings
from workers.storage.database import open_engine, reading
from workers.storage.events.inbox import SealedChange
from workers.storage.tables import config_events


@pytest.fixture
def celery(stored: Settings) -> Iterator[Celery]:
    stored.home_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    flush(stored)
    app = make_celery(stored, "test")
    yield app
    app.close()
    flush(stored)


@pytest.fixture
async def writer(engine: Engine, redis: Redis, celery: Celery) -> AsyncIterator[ChangeWriter]:
    async with ChangeWriter.open(engine, redis, celery) as writer:
        yield writer


def count(engine: Engine, status: str = "pending") -> int:
    query = select(func.count()).where(config_events.c.status == status)
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()


def statuses(results: "list[ConfigResult | None]") -> list[str | None]:
    return [None if each is None else each.status for each in results]


async def messages(redis: Redis) -> list[tuple[str, ...]]:
    """Return the ids in each message on the queue, the oldest first."""
    found = []
    for text in reversed(await redis.lrange(CONFIG_QUEUE, 0, -1)):
        envelope = json.loads(text)
        assert envelope["headers"]["expires"] is not None
        _, named, _ = json.loads(base64.b64decode(envelope["body"]))
        task = ConfigTask.model_validate(named["message"])
        found.append((task.event_id, *task.others))
    return found


def begin(writer: ChangeWriter, *changes: SealedChange) -> "list[asyncio.Task[Written]]":
    """Let these changes come at one time."""
    return [asyncio.create_task(writer.write(each), name="change") for each in changes]


async def written(tasks: "list[asyncio.Task[Written]]") -> list[Written]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks)


async def test_what_comes_at_one_time_is_one_message_and_each_gets_its_result(
    engine: Engine, stored: Settings, redis: Redis, writer: ChangeWriter
) -> None:
    changes = [SealedChange(change(f"n{number}")) for number in range(6)]
    told = await written(begin(writer, *changes))
    assert count(engine) == 6
    assert await messages(redis) == [tuple(each.event_id for each in told)]
    told[2].result.cancel()  # its caller is gone
    with running_config_worker(stored):
        again = await written(begin(writer, *changes[:2]))
        async with asyncio.timeout(20):
            results = [await each.result for each in again]
    assert statuses(results) == ["applied"] * 2
    assert [each and each.record and each.record.name for each in results] == ["n0", "n1"]


async def test_one_that_cannot_be_written_down_fails_alone(
    engine: Engine, redis: Redis, writer: ChangeWriter
) -> None:
    no_json: Any = object()
    bad = SealedChange(change(), sealed=(no_json,))
    good = [SealedChange(change()) for _ in range(2)]
    first, failed, last = await asyncio.gather(
        *begin(writer, good[0], bad, good[1]), return_exceptions=True
    )
    assert isinstance(failed, TypeError)
    assert isinstance(first, Written)
    assert isinstance(last, Written)
    assert count(engine) == 2
    assert await messages(redis) == [(first.event_id, last.event_id)]


async def test_without_a_database_each_call_gets_to_know(
    stored: Settings, redis: Redis, celery: Celery
) -> None:
    away = open_engine(configure(stored, database_url="postgresql+psycopg://nobody@127.0.0.1:1/x"))
    async with ChangeWriter.open(away, redis, celery) as writer:
        tasks = begin(writer, *(SealedChange(change()) for _ in range(3)))
        told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, StorageUnavailableError) for each in told] == [True] * 3
    assert await messages(redis) == []


async def test_without_a_broker_what_is_written_down_is_withdrawn(
    engine: Engine, stored: Settings, redis: Redis
) -> None:
    celery = make_celery(configure(stored, broker_url="redis://127.0.0.1:1/0"), "test")
    async with ChangeWriter.open(engine, redis, celery) as writer:
        told = await written(begin(writer, *(SealedChange(change()) for _ in range(3))))
        async with asyncio.timeout(20):
            results = [await each.result for each in told]
    celery.close()
    assert statuses(results) == ["withdrawn"] * 3
    assert count(engine, "withdrawn") == 3


async def test_who_waits_gives_up_when_the_process_is_about_to_end(
    engine: Engine, writer: ChangeWriter
) -> None:
    told = await written(begin(writer, *(SealedChange(change()) for _ in range(3))))
    writer.stop_waiting()
    async with asyncio.timeout(WAIT_S - 1):
        assert statuses([await each.result for each in told]) == ["withdrawn"] * 3
    assert count(engine, "withdrawn") == 3


async def test_calls_that_nobody_answers_share_the_transactions_that_withdraw_them(
    engine: Engine, redis: Redis, celery: Celery, tmp_path: Path
) -> None:
    policy, calls, commits = BaseUrlPolicy(), 2 * MOST_AT_ONCE, list[object]()
    sealer = Sealer(tmp_path, {}, policy, ToolSealer(tmp_path, {}, policy))

    def note(connection: object) -> None:
        commits.append(connection)

    agent = AgentCreate(name="a", system_prompt="b", voice=Voice(voice_id="ivy"))
    async with (
        AgentChanges.open(engine, redis, celery, sealer) as changes,
        asyncio.timeout(20),
    ):
        creating = [changes.create("default", agent) for _ in range(calls)]
        waiting = asyncio.gather(*creating, return_exceptions=True)
        await asyncio.to_thread(wait_for, "all wait", lambda: count(engine) == calls)
        event.listen(engine, "commit", note)
        changes.stop_waiting()
        failures = await waiting
    event.remove(engine, "commit", note)
    assert {isinstance(each, ApiError) and each.status for each in failures} == {503}
    assert count(engine, "withdrawn") == calls
    assert len(commits) < 10


async def test_what_a_worker_applied_although_nobody_heard_of_it_is_no_withdrawal(
    engine: Engine, writer: ChangeWriter
) -> None:
    changes = [SealedChange(change(name)) for name in "abc"]
    told = await written(begin(writer, *changes))
    outcome = apply_at(engine, told[1].event_id, datetime.now(UTC))
    assert outcome is not None
    writer.stop_waiting()
    async with asyncio.timeout(WAIT_S - 1):
        results = [await each.result for each in told]
    assert statuses(results) == ["withdrawn", "applied", "withdrawn"]
    assert results[1] == outcome.result


async def test_what_cannot_be_withdrawn_is_not_known(
    engine: Engine, writer: ChangeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await written(begin(writer, *(SealedChange(change()) for _ in range(3))))

    def away(*_: object) -> None:
        raise StorageUnavailableError("the database: OperationalError")

    monkeypatch.setattr(change_writer, "withdraw_events", away)
    writer.stop_waiting()
    async with asyncio.timeout(WAIT_S - 1):
        assert [await each.result for each in told] == [None] * 3
    assert count(engine, "pending") == 3
