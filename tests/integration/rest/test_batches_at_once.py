"""More batches at once than a gateway receives of one account: the next is told to wait."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from tests.integration.rest.test_batches import NDJSON, code_of, ndjson, post, row
from tests.servers.accounts import Keys
from tests.servers.waiting import wait_for
from workers.gateway.configuring.batch_places import OF_ACCOUNT
from workers.storage.batches.tables import batches
from workers.storage.database import reading


def received(engine: Engine) -> int:
    """Return how many batches are being received."""
    query = sa.select(sa.func.count()).where(batches.c.status == "receiving")
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()


def large() -> Iterator[bytes]:
    """Yield far more than what lies in the buffers of a connection."""
    for number in range(2_000):
        yield json.dumps(row(f"large{number}", greeting="x" * 2_000)).encode() + b"\n"


def test_one_batch_more_than_an_account_may_send_at_once_is_told_to_wait(
    client: httpx.Client, engine: Engine, keys: Keys
) -> None:
    go_on = threading.Event()

    def slow(number: int) -> Iterator[bytes]:
        yield ndjson(row(f"slow{number}"))
        go_on.wait(60)
        yield ndjson(row(f"slow{number}b"))

    with ThreadPoolExecutor(OF_ACCOUNT) as pool:
        sent = [pool.submit(post, client, slow(number)) for number in range(OF_ACCOUNT)]
        try:
            wait_for("all are received", lambda: received(engine) == OF_ACCOUNT, within=30)
            refused = [post(client, ndjson(row("more"))), post(client, large())]
            headers = {**keys.other.headers, "Content-Type": NDJSON}
            theirs = client.post("/v1/batches", content=ndjson(row("theirs")), headers=headers)
        finally:
            go_on.set()
        assert [each.result().status_code for each in sent] == [202] * OF_ACCOUNT
    assert [code_of(answer) for answer in refused] == [(429, "rate_limited")] * 2
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert theirs.status_code == 202
    assert post(client, ndjson(row("more"))).status_code == 202
