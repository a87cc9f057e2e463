"""A config worker killed in the middle of a batch, a gateway in the middle of its body."""

import json
import signal
from collections.abc import Iterator

import httpx
import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy import Engine

from tests.integration.config.staged import batch, counts, post, row
from tests.integration.config.test_killed_workers import queue, quick
from tests.servers.parts import running_config_worker, running_gateway
from tests.servers.waiting import wait_for
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.events.inbox import send_batch

__all__ = ["queue", "quick"]  # fixtures
ROWS = 1_500


def versions(engine: Engine) -> list[tuple[int, int]]:
    with reading(engine) as connection:
        found = connection.execute(
            sa.text("SELECT version, count(*) FROM agents GROUP BY version ORDER BY version")
        )
        return [(int(each[0]), int(each[1])) for each in found]


@pytest.mark.slow
def test_a_batch_whose_worker_is_killed_is_applied_once_all_the_same(
    engine: Engine, quick: Settings, queue: Celery
) -> None:
    batch_id = post(engine, [row(n) for n in range(ROWS)])
    with running_config_worker(quick) as part:
        for _ in range(2):
            send_batch(queue, batch_id)
        wait_for("some are applied", lambda: batch(engine, batch_id).done > 0, within=30)
        part.stop(signal.SIGKILL)
    with running_config_worker(quick):
        wait_for("all are applied", lambda: batch(engine, batch_id).status == "done", within=90)
    assert counts(engine, batch_id) == {"created": ROWS}
    assert versions(engine) == [(1, ROWS)]


@pytest.mark.slow
@pytest.mark.usefixtures("queue")
def test_of_a_body_whose_gateway_is_killed_nothing_is_applied_and_nothing_stays(
    engine: Engine, quick: Settings
) -> None:
    def staged() -> int:
        with reading(engine) as connection:
            query = sa.text("SELECT count(*) FROM config_events WHERE status = 'staged'")
            return int(connection.execute(query).scalar() or 0)

    with running_gateway(quick) as (part, client):

        def body() -> Iterator[bytes]:
            for number in range(ROWS):
                agent = {"external_id": f"x{number}", "name": "a", "system_prompt": "b" * 500}
                yield json.dumps({**agent, "voice": {"voice_id": "ivy"}}).encode() + b"\n"
            wait_for("some are staged", lambda: staged() > 0, within=30)
            part.stop(signal.SIGKILL)

        with pytest.raises(httpx.HTTPError):
            client.post(
                "/v1/batches", content=body(), headers={"Content-Type": "application/x-ndjson"}
            )
    assert staged() > 0
    with writing(engine) as connection:  # the time passes after which it is given up
        connection.execute(sa.text("UPDATE batches SET due_at = 0"))
    with running_config_worker(quick):
        wait_for("it is swept", lambda: staged() == 0, within=30)
    assert versions(engine) == []
