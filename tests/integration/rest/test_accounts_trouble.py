"""Keys while the database or Redis is away."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.servers.accounts import MadeKey, make_key, revoke
from tests.servers.parts import client_of, configure, running_gateway, running_part
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.waiting import wait_for
from workers.settings import Settings
from workers.supervision.embedded_redis import private_redis


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """Settings on a Redis that a test may kill."""
    with private_redis(tmp_path / "redis") as url:
        yield Settings(_env_file=None, home=tmp_path / "home", redis_url=url, port=0)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def voices(client: httpx.Client, key: MadeKey) -> int:
    return client.get("/v1/voices", headers=key.headers).status_code


def test_while_the_database_is_away_known_keys_go_on_and_others_wait(
    own: Settings, own_postgres: Postgres
) -> None:
    settings = configure(own, database_url=own_postgres.new_database())
    known, fresh = make_key(settings, "configure"), make_key(settings, "configure")
    with running_gateway(settings) as (gateway, client):
        assert voices(client, known) == 200
        own_postgres.stop(signal.SIGQUIT)
        wait_for("a look-up failed", lambda: voices(client, known) and _missed(gateway.log))
        assert voices(client, known) == 200
        assert client.get("/v1/voices").status_code == 200  # the operator's
        answer = client.get("/v1/voices", headers=fresh.headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        own_postgres.start()
        wait_for("the new key works", lambda: voices(client, fresh) == 200)
        revoke(settings, known)
        wait_for("the revoked one stops", lambda: voices(client, known) == 401, within=3)


def _missed(log: Path) -> bool:
    return "a key could not be looked up" in log.read_text()


def test_the_llm_gateway_knows_its_operator_without_a_database(own: Settings) -> None:
    settings = configure(own, database_url="postgresql+psycopg://x@/x?host=/nowhere")
    with (
        running_part(settings, "llm-gateway") as part,
        client_of(settings, part, "llm-gateway") as client,
    ):
        assert client.get("/v1/models").status_code == 200
        unknown = {"Authorization": "Bearer ew_" + "0" * 43}
        answer = client.get("/v1/models", headers=unknown)
        assert answer.status_code == 503
        assert set(answer.json()) == {"error"}


def test_a_database_without_tables_is_a_503_and_no_crash(
    own: Settings, own_postgres: Postgres
) -> None:
    for url in (None, own_postgres.new_database()):
        settings = configure(own, database_url=url)
        with (
            running_part(settings, "llm-gateway") as part,
            client_of(settings, part, "llm-gateway") as client,
        ):
            unknown = {"Authorization": "Bearer ew_" + "0" * 43}
            assert client.get("/v1/models", headers=unknown).status_code == 503
            assert not part.logged("crashed")


def test_while_redis_is_away_there_are_no_tokens(own: Settings) -> None:
    with running_gateway(own) as (_, client):
        token = client.get("/v1/token").json()["token"]
        with redis.Redis.from_url(str(own.redis_url)) as connection:
            os.kill(connection.info()["process_id"], signal.SIGKILL)
        path = "/v1/agents/agent_" + "0" * 32 + "/sessions"
        for answer in (
            client.post("/v1/tokens"),
            client.get("/v1/token"),
            client.post(path, headers={"Authorization": f"Bearer {token}"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
