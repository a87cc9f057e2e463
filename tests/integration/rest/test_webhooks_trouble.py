"""Webhooks while the broker, the database or a key is away: nothing that got a 202 is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.ids import agent_id_of, new_id
from tests.integration.rest.test_trouble import kill_redis, statuses
from tests.servers.parts import configure, flush, running_config_worker, running_gateway
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.waiting import wait_for
from tests.servers.webhooks import code_of, new_sender, upsert_body
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.secret_box import BOX_FILE
from workers.settings import Settings
from workers.supervision.embedded_redis import private_redis


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """Settings on a Redis that a test may kill, in a home with keys."""
    with private_redis(tmp_path / "redis") as url:
        settings = Settings(_env_file=None, home=tmp_path / "home", redis_url=url, port=0)
        settings.home_path.mkdir(mode=0o700)
        make_missing_keys(keys_folder(settings.home_path), {})
        yield settings


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.mark.slow
def test_without_a_broker_it_is_accepted_and_applied_when_there_is_one_again(
    own: Settings, redis_url: str
) -> None:
    with running_gateway(own) as (_, client):
        sender = new_sender(client, "crm")
        kill_redis(own)
        answer = sender.send(upsert_body("kitchen"))
        assert answer.status_code == 202, answer.text
        assert statuses(own) == ["pending"]
    later = configure(own, redis_url=redis_url)
    flush(later)
    with running_config_worker(later), running_gateway(later) as (_, client):
        agent = f"/v1/agents/{agent_id_of('default', 'kitchen')}"
        made = wait_for(
            "the reconciler sends it", lambda: client.get(agent).status_code == 200, within=30
        )
        assert made


def test_without_a_database_or_a_key_nothing_is_accepted_and_then_it_may_be_sent_again(
    own: Settings, own_postgres: Postgres
) -> None:
    settings = configure(own, database_url=own_postgres.new_database())
    with running_gateway(settings) as (part, client):
        sender = new_sender(client, "crm")
        webhook_id, body = new_id("msg"), upsert_body("kitchen")
        own_postgres.stop()
        assert code_of(sender.send(body, webhook_id)) == (503, "unavailable")
        own_postgres.start()
        key = keys_folder(settings.home_path) / BOX_FILE
        held = key.read_bytes()
        key.write_bytes(b"x" * 44)
        assert code_of(client.put("/v1/sources/other")) == (503, "unavailable")
        key.unlink()
        assert code_of(client.put("/v1/sources/other")) == (503, "unavailable")
        key.write_bytes(held)
        key.chmod(0o600)
        assert sender.send(body, webhook_id).status_code == 202
        assert statuses(settings) == ["pending"]
        assert part.logged("webhook secrets cannot be kept")
        assert not part.logged("crashed")
