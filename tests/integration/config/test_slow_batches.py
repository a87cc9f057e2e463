"""Batches whose body comes slowly: kept while a gateway reads them, swept when none does."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tests.servers.parts import flush
from tests.servers.waiting import wait_for
from workers.batch_files.ndjson import NdjsonReader
from workers.celery_app import make_celery
from workers.gateway.configuring.batch_inbox import BatchInbox
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.configuring.tool_sealer import ToolSealer
from workers.gateway.rest_errors import ApiError
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.secrets.key_files import keys_folder
from workers.settings import Settings
from workers.storage.batches.sweep import sweep_leftovers
from workers.storage.batches.tables import batches
from workers.storage.database import reading, writing
from workers.storage.tables import from_microseconds

SILENT_S = 0.3


@pytest.fixture
def inbox(stored: Settings, engine: Engine) -> Iterator[BatchInbox]:
    folder, policy = keys_folder(stored.home_path), BaseUrlPolicy()
    sealer = Sealer(folder, os.environ, policy, ToolSealer(folder, os.environ, policy))
    celery = make_celery(stored, "test")
    with BatchInbox.open(engine, celery, sealer, silent_s=SILENT_S) as inbox:
        yield inbox
    celery.close()
    flush(stored)


def row(name: str) -> bytes:
    fields = {"name": name, "system_prompt": "b", "voice": {"voice_id": "ivy"}}
    return json.dumps({"external_id": name, **fields}).encode() + b"\n"


def due_at(engine: Engine) -> datetime:
    """Return when the batch that is being received would be swept."""
    with reading(engine) as connection:
        return from_microseconds(connection.execute(sa.select(batches.c.due_at)).scalar_one())


async def after_a_silence(engine: Engine) -> datetime:
    """Wait until a batch is kept beyond what its first deadline was; return that deadline."""
    first = due_at(engine)
    late = first + timedelta(seconds=SILENT_S)  # set by whoever keeps it past the first deadline
    what = "the batch is kept"
    await asyncio.to_thread(wait_for, what, lambda: due_at(engine) >= late, within=30)
    return first


async def test_parts_that_come_further_apart_than_silence_may_last_are_one_batch(
    inbox: BatchInbox, engine: Engine
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for name in ("one", "two", "three"):
            yield row(name)
            first = await after_a_silence(engine)
            with writing(engine) as connection:
                sweep_leftovers(connection, first)

    accepted = await inbox.take("default", "application/x-ndjson", NdjsonReader(), None, body())
    assert (accepted.status, accepted.total) == ("running", 3)


async def test_a_batch_that_no_gateway_reads_any_more_is_not_kept(
    inbox: BatchInbox, engine: Engine
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield row("one")
        with writing(engine) as connection:
            sweep_leftovers(connection, datetime.now(UTC) + timedelta(hours=1))
        yield row("two")

    with pytest.raises(ApiError, match="in time"):
        await inbox.take("default", "application/x-ndjson", NdjsonReader(), None, body())
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("keep ")]
