"""What REST answers while a part is away: a 503 that means nothing happened, and then it works."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
import sqlalchemy as sa

from schemas.config_event import CONFIG_QUEUE, CONFIG_TASK
from schemas.ids import new_id
from tests.servers.parts import (
    client_of,
    configure,
    running_config_worker,
    running_gateway,
    running_part,
)
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.waiting import wait_for
from workers.celery_app import make_celery
from workers.settings import Settings
from workers.storage.database import open_engine
from workers.supervision.embedded_redis import private_redis, start_redis

AT_ONCE = 128
AGENT = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """Settings on a Redis that a test may kill."""
    with private_redis(tmp_path / "redis") as url:
        yield Settings(_env_file=None, home=tmp_path / "home", redis_url=url, port=0)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def create(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/agents", json=AGENT)


def callers_of(client: httpx.Client) -> httpx.AsyncClient:
    """Return a client of the same server for many calls at once."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    return httpx.AsyncClient(
        base_url=client.base_url,
        headers=client.headers,
        timeout=20,
        limits=limits,
        trust_env=False,
    )


def agents(client: httpx.Client) -> list[str]:
    answer = client.get("/v1/agents")
    assert answer.status_code == 200, answer.text
    return [agent["id"] for agent in answer.json()["agents"]]


def is_there(client: httpx.Client, part: str) -> bool:
    return bool(client.get("/readyz").json()["parts"][part])


def assert_unavailable(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
    assert int(answer.headers["retry-after"]) > 0


def kill_redis(settings: Settings) -> None:
    with redis.Redis.from_url(str(settings.redis_url)) as connection:
        os.kill(connection.info()["process_id"], signal.SIGKILL)


def statuses(settings: Settings) -> list[str]:
    engine = open_engine(settings)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT status FROM config_events")).scalars().all()
    engine.dispose()
    return sorted(str(status) for status in rows)


def test_without_a_worker_a_change_is_withdrawn_and_stays_so(own: Settings) -> None:
    with running_gateway(own) as (_, client):
        began = time.monotonic()
        assert_unavailable(create(client))
        assert time.monotonic() - began < 6
        assert agents(client) == []
        assert statuses(own) == ["withdrawn"]
        with running_config_worker(own):
            assert create(client).status_code == 201
        assert len(agents(client)) == 1
        assert statuses(own) == ["applied", "withdrawn"]


async def test_without_a_worker_many_changes_are_withdrawn_and_reads_go_on(
    own: Settings,
) -> None:
    with running_gateway(own) as (_, client):
        async with callers_of(client) as callers, callers_of(client) as reader:
            posts = [callers.post("/v1/agents", json=AGENT) for _ in range(AT_ONCE)]
            waiting = asyncio.gather(*posts)
            while not waiting.done():
                read = await reader.get("/v1/agents")
                assert (read.status_code, read.json()["agents"]) == (200, [])
            for answer in await waiting:
                assert_unavailable(answer)
        assert statuses(own) == ["withdrawn"] * AT_ONCE
        with running_config_worker(own):
            assert create(client).status_code == 201
        assert len(agents(client)) == 1
        assert statuses(own).count("applied") == 1


def test_a_worker_that_was_killed_is_replaced_by_another(own: Settings) -> None:
    with running_gateway(own) as (_, client):
        with running_config_worker(own) as worker:
            assert create(client).status_code == 201
            worker.stop(signal.SIGKILL)
        with running_config_worker(own):
            assert create(client).status_code == 201


def test_a_stopped_worker_says_goodbye_and_ends_within_three_seconds(own: Settings) -> None:
    with running_gateway(own) as (_, client), running_config_worker(own) as worker:
        wait_for("it is seen", lambda: is_there(client, "config_workers"))
        assert worker.stop() < 3
        assert worker.process.returncode == 0
        assert not is_there(client, "config_workers")


def test_a_malformed_message_is_dropped_and_not_quoted(own: Settings) -> None:
    with running_gateway(own) as (_, client), running_config_worker(own) as worker:
        producer = make_celery(own, "producer")
        for message in ({"planted-7c": 1}, "planted-7c", None, {"version": 1, "event_id": "x"}):
            producer.send_task(CONFIG_TASK, kwargs={"message": message}, queue=CONFIG_QUEUE)
        producer.close()
        wait_for("it is dropped", lambda: worker.log.read_text().count("is malformed") == 4)
        assert create(client).status_code == 201
        assert not worker.logged("planted-7c")


def test_while_redis_is_away_nothing_changes_and_then_all_goes_on(own: Settings) -> None:
    folder = own.home.parent / "redis"
    with running_gateway(own) as (_, client), running_config_worker(own):
        kept = create(client).json()
        kill_redis(own)
        assert_unavailable(create(client))
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert agents(client) == [kept["id"]]
        assert client.get(f"/v1/agents/{kept['id']}").json() == kept
        again = start_redis(folder, folder / "redis.sock")
        try:
            wait_for("a new agent", lambda: create(client).status_code == 201, within=30)
            wait_for("the worker is seen again", lambda: is_there(client, "config_workers"))
            assert len(agents(client)) == statuses(own).count("applied") == 2
        finally:
            again.kill()
            again.wait(5)


def test_redis_goes_in_the_middle_of_an_event_and_the_worker_stays(own: Settings) -> None:
    folder = own.home.parent / "redis"
    with running_gateway(own) as (_, client), running_config_worker(own) as worker:
        other = sqlite3.connect(own.home_path / "edgewise.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")  # so that the worker is held up, its message not acked
        producer = make_celery(own, "producer")
        message = {"version": 1, "event_id": new_id("event")}
        producer.send_task(CONFIG_TASK, kwargs={"message": message}, queue=CONFIG_QUEUE)
        producer.close()
        wait_for("the event is under way", lambda: worker.logged("Task accepted"))
        kill_redis(own)
        again = start_redis(folder, folder / "redis.sock")
        try:
            other.execute("ROLLBACK")
            other.close()
            wait_for("a new agent", lambda: create(client).status_code == 201, within=30)
            assert worker.process.poll() is None
        finally:
            again.kill()
            again.wait(5)


def test_while_the_database_is_away_agents_still_read(
    own: Settings, own_postgres: Postgres
) -> None:
    settings = configure(own, database_url=own_postgres.new_database())
    with running_gateway(settings) as (_, client), running_config_worker(settings):
        kept = create(client).json()
        own_postgres.stop(signal.SIGQUIT)
        assert_unavailable(create(client))
        assert_unavailable(client.get("/v1/agents"))
        assert client.get(f"/v1/agents/{kept['id']}").json() == kept
        assert not is_there(client, "database")
        own_postgres.start()
        wait_for("a new agent", lambda: create(client).status_code == 201, within=30)
        assert len(agents(client)) == 2


def test_a_gateway_starts_without_its_database_and_finds_it_later(
    own: Settings, own_postgres: Postgres
) -> None:
    settings = configure(own, database_url=own_postgres.new_database())
    own_postgres.stop()
    with running_gateway(settings) as (_, client):
        assert client.get("/healthz").status_code == 200
        assert_unavailable(client.get("/v1/agents"))
        own_postgres.start()
        wait_for("the database", lambda: is_there(client, "database"), within=20)
        assert agents(client) == []


def test_a_database_that_another_program_holds_is_a_503_in_time(own: Settings) -> None:
    with running_gateway(own) as (_, client), running_config_worker(own):
        assert create(client).status_code == 201
        other = sqlite3.connect(own.home_path / "edgewise.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert_unavailable(create(client))
        assert time.monotonic() - began < 12
        other.execute("ROLLBACK")
        other.close()
        assert create(client).status_code == 201
        assert len(agents(client)) == 2


def test_a_gateway_stops_within_three_seconds_although_a_call_waits(own: Settings) -> None:
    file = own.home_path / "run" / "gateway.json"
    with running_gateway(own) as (gateway, client):
        assert client.get("/healthz").status_code == 200  # a connection that stays open
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(create, client)
            wait_for("the event is there", lambda: statuses(own) == ["pending"])
            assert gateway.stop() < 3
            assert gateway.process.returncode == 0
            assert not file.exists()
            assert_unavailable(waiting.result(10))
        assert statuses(own) == ["withdrawn"]


def test_a_gateway_on_a_port_that_is_taken_says_so(own: Settings) -> None:
    with running_part(own, "llm-gateway") as first, client_of(own, first, "llm-gateway") as client:
        port = client.base_url.port
        with running_part(own, "gateway", port=port) as second:
            assert second.process.wait(30) == 1
            assert second.logged(f"cannot listen on 127.0.0.1 port {port}")


def test_a_gateway_without_a_key_to_check_says_so(own: Settings) -> None:
    with running_part(own, "gateway", api_key=None) as part:
        assert part.process.wait(30) == 1
        assert part.logged("EDGEWISE_API_KEY")
