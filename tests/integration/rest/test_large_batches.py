"""Batches at their limits and beyond: the gateway's memory stays flat, what is refused is gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.batch import MAX_BATCH_BYTES, MAX_ROWS
from tests.integration.rest.batch_bodies import Csv, Form, JsonList, Ndjson
from tests.servers.parts import Part, flush, running_gateway
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.batches.sweep import has_leftovers, sweep_leftovers
from workers.storage.database import reading, writing

FLAT = 50_000_000
FORMS: dict[str, Form] = {"ndjson": Ndjson(), "json": JsonList(), "csv": Csv()}
RUNS = [("sqlite", "ndjson"), ("sqlite", "json"), ("postgresql", "csv")]
"""Each database and each format once: the one hangs on how rows are written, not on the other."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.parametrize(("own_settings", "form"), RUNS, indirect=True, scope="module"),
]


@pytest.fixture(scope="module")
def system_settings(own_settings: Settings) -> Settings:
    return own_settings


@pytest.fixture(scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


@pytest.fixture(scope="module")
def gateway(system_settings: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    """A gateway with no config worker: what is accepted stays where it can be counted."""
    flush(system_settings)
    make_missing_keys(keys_folder(system_settings.home_path), {})
    with running_gateway(system_settings) as running:
        for form in FORMS.values():
            assert send(running[1], form, form.of_short_rows(1)).status_code == 202
        yield running


@contextmanager
def flat_memory(part: Part) -> Iterator[None]:
    """Look at the gateway's memory all the while: its peak is what counts."""
    process, over = psutil.Process(part.process.pid), threading.Event()
    before = peak = process.memory_info().rss

    def look() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join(5)
    assert peak - before <= FLAT, f"{(peak - before) / 1e6:.0f} MB more"


def send(client: httpx.Client, form: Form, body: Iterator[bytes]) -> httpx.Response:
    headers = {"Content-Type": form.media_type}
    return client.post("/v1/batches", content=body, headers=headers, timeout=120)


def kept(engine: Engine) -> list[int]:
    """Return how many batches, rows and errors of rows there are, once what was left is swept."""
    with writing(engine) as connection:
        while has_leftovers(connection, datetime.now(UTC)):
            sweep_leftovers(connection, datetime.now(UTC))
    with reading(engine) as connection:
        return [
            connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("batches", "config_events", "batch_errors")
        ]


def refused(
    gateway: tuple[Part, httpx.Client], engine: Engine, form: Form, body: Iterator[bytes]
) -> tuple[int, str]:
    """Send what is too much, see that nothing of it is kept, and return how it was refused."""
    part, client = gateway
    before = kept(engine)
    with flat_memory(part):
        answer = send(client, form, body)
    assert kept(engine) == before
    return answer.status_code, answer.json()["code"]


def test_one_row_more_is_refused_and_nothing_is_kept(
    gateway: tuple[Part, httpx.Client], engine: Engine, form: Form
) -> None:
    # In NDJSON there are a million of them: what is refused is not read to its end.
    rows = 1_000_000 if form.media_type == Ndjson.media_type else MAX_ROWS + 1
    answer = refused(gateway, engine, form, form.of_short_rows(rows))
    assert answer == (422, "validation_error")


def test_one_byte_more_is_refused_and_nothing_is_kept(
    gateway: tuple[Part, httpx.Client], engine: Engine, form: Form
) -> None:
    body = form.of_rows(MAX_BATCH_BYTES // 65_536, MAX_BATCH_BYTES + 1)
    assert refused(gateway, engine, form, body) == (413, "payload_too_large")


def test_rows_of_a_megabyte_are_errors_of_their_own(
    gateway: tuple[Part, httpx.Client], engine: Engine, form: Form
) -> None:
    part, client = gateway
    before = kept(engine)
    with flat_memory(part):
        answer = send(client, form, form.of_rows(60, 60 * 1_048_576))
    assert answer.status_code == 202, answer.text
    assert kept(engine) == [before[0] + 1, before[1], before[2] + 60]


def test_as_many_rows_and_bytes_as_may_be_are_taken(
    gateway: tuple[Part, httpx.Client], engine: Engine, form: Form
) -> None:
    part, client = gateway
    before = kept(engine)
    with flat_memory(part):
        answer = send(client, form, form.of_rows(MAX_ROWS, MAX_BATCH_BYTES))
    assert answer.status_code == 202, answer.text
    assert answer.json()["total"] == MAX_ROWS
    assert kept(engine) == [before[0] + 1, before[1] + MAX_ROWS, before[2]]
