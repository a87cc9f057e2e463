"""Batches at their limits and beyond: the gateway's memory stays flat, what is refused is gone."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from schemas.batch import MAX_BATCH_BYTES, MAX_ROWS
from tests.servers.parts import Part, flush, running_gateway
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.storage.batch_sweep import has_leftovers, sweep_leftovers
from workers.storage.database import reading, writing

FLAT = 50_000_000
PIECE = 1_000
"""Rows that are sent at once."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system_settings(module_settings: Settings) -> Settings:
    """SQLite alone: what a gateway holds of a body does not hang on the database."""
    return module_settings


@pytest.fixture(scope="module")
def gateway(system_settings: Settings) -> Iterator[tuple[Part, httpx.Client]]:
    """A gateway with no config worker: what is accepted stays where it can be counted."""
    flush(system_settings)
    make_missing_keys(keys_folder(system_settings.home_path), {})
    with running_gateway(system_settings) as running:
        assert send(running[1], [row(0, 100)]).status_code == 202
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


def row(number: int, length: int) -> bytes:
    """Return a row of exactly so many bytes, its line feed included."""
    fields = {"external_id": f"{number:06}", "name": "n", "voice": {"voice_id": "ivy"}}
    empty = json.dumps({**fields, "system_prompt": ""}).encode() + b"\n"
    return empty.replace(b'""', b'"' + b"p" * (length - len(empty)) + b'"')


def whole_batch() -> Iterator[bytes]:
    """Yield as many rows as a batch may have, which are as many bytes as it may have."""
    length, longer = divmod(MAX_BATCH_BYTES, MAX_ROWS)
    for start in range(0, MAX_ROWS, PIECE):
        numbers = range(start, start + PIECE)
        yield b"".join(row(number, length + (number < longer)) for number in numbers)


def million_short_rows() -> Iterator[bytes]:
    for start in range(0, 1_000_000, PIECE):
        numbers = range(start, start + PIECE)
        yield b"".join(b'{"external_id":"%d","delete":true}\n' % number for number in numbers)


def one_byte_more() -> Iterator[bytes]:
    for number in range(MAX_BATCH_BYTES // 65_536):
        yield row(number, 200)[:-1] + b" " * (65_536 - 200) + b"\n"
    yield b"\n"


def send(client: httpx.Client, body: list[bytes] | Iterator[bytes]) -> httpx.Response:
    headers = {"Content-Type": "application/x-ndjson"}
    return client.post("/v1/batches", content=iter(body), headers=headers, timeout=120)


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


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (million_short_rows, 422, "validation_error"),
        (one_byte_more, 413, "payload_too_large"),
    ],
)
def test_what_is_too_much_is_refused_and_nothing_of_it_is_kept(
    gateway: tuple[Part, httpx.Client],
    engine: Engine,
    body: Callable[[], Iterator[bytes]],
    status: int,
    code: str,
) -> None:
    part, client = gateway
    before = kept(engine)
    with flat_memory(part):
        answer = send(client, body())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert kept(engine) == before


def test_as_many_rows_and_bytes_as_may_be_are_taken(
    gateway: tuple[Part, httpx.Client], engine: Engine
) -> None:
    part, client = gateway
    before = kept(engine)
    with flat_memory(part):
        answer = send(client, whole_batch())
    assert answer.status_code == 202, answer.text
    assert answer.json()["total"] == MAX_ROWS
    assert kept(engine) == [before[0] + 1, before[1] + MAX_ROWS, before[2]]
