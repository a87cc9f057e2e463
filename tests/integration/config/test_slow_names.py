"""Batches whose names hang: they leave the worker's slots, and its threads, to others."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine

from schemas.batch import BATCH_TASK, BatchTask
from tests.integration.config.staged import post, row
from tests.servers.waiting import wait_for
from workers.agent_config.batch_task import OTHERS, SLOW_S, add_batch_task
from workers.agent_config.endpoints import EndpointCheck
from workers.agent_config.vault import Vault
from workers.celery_app import make_celery
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.public_address import IpAddress
from workers.providers.resolve import THREADS_FOR_MANY, resolve_of_many, system_resolve
from workers.settings import Settings
from workers.storage.batches.sweep import stalled
from workers.storage.database import reading
from workers.storage.events.inbox import RESEND_S
from workers.storage.redis_client import connect_blocking

LEASE_S = 6.0
"""Half of it is how long a group of rows waits for its names: more than makes it a slow one."""


class Hanging:
    """Names that no server answers for; counts who waits for one."""

    def __init__(self) -> None:
        self.waiting = 0

    async def __call__(self, host: str) -> tuple[IpAddress, ...]:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        raise AssertionError(host)


@pytest.fixture
def app(stored: Settings, engine: Engine, vault: Vault) -> Iterator[Celery]:
    """Celery with the task; what is sent is noted in place of the queue."""
    app, policy, names = make_celery(stored, "test"), BaseUrlPolicy(), Hanging()
    with (
        contextlib.closing(connect_blocking(stored)) as redis,
        EndpointCheck.open(policy, policy, names) as check,
    ):
        add_batch_task(app, engine, redis, vault, check, lease_s=LEASE_S)
        yield app
        wait_for("the last look-up is given up", lambda: names.waiting == 0, within=10)
    app.close()


@pytest.fixture
def pauses(app: Celery, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """When each further message of a batch is due, in seconds from when it was sent."""
    found: list[float | None] = []

    def note(name: str, *, countdown: float | None = None, **_: Any) -> None:
        assert name == BATCH_TASK
        found.append(countdown)

    monkeypatch.setattr(app, "send_task", note)
    return found


def is_stalled(engine: Engine, batch_id: str, at: datetime) -> bool:
    with reading(engine) as connection:
        return batch_id in stalled(connection, at, 10)


def test_a_batch_whose_names_hang_pauses_and_is_not_sent_a_second_time_meanwhile(
    app: Celery, pauses: list[float | None], engine: Engine, stored: Settings
) -> None:
    now = datetime.now(UTC)
    batch_id = post(engine, [row(1, llm=[("m", "sk")], settings=stored)], at=now)
    app.tasks[BATCH_TASK](BatchTask(batch_id=batch_id).model_dump(mode="json"))
    (pause_s,) = pauses
    assert pause_s is not None
    assert pause_s >= OTHERS * SLOW_S
    assert not is_stalled(engine, batch_id, now + timedelta(seconds=pause_s + RESEND_S))
    late = datetime.now(UTC) + timedelta(seconds=pause_s + RESEND_S)
    assert is_stalled(engine, batch_id, late)


def test_a_batch_without_names_goes_on_at_once(
    app: Celery, pauses: list[float | None], engine: Engine
) -> None:
    batch_id = post(engine, [row(1)], at=datetime.now(UTC))
    app.tasks[BATCH_TASK](BatchTask(batch_id=batch_id).model_dump(mode="json"))
    assert pauses == [None]


async def test_names_of_a_batch_that_hang_hold_up_no_other_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go, look_up = threading.Event(), socket.getaddrinfo

    def hanging(host: bytes, *words: Any, **named: Any) -> Any:
        if host.startswith(b"hang"):
            let_go.wait(30)
        return look_up(b"localhost", *words, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    names = [f"hang{number}.example" for number in range(4 * THREADS_FOR_MANY)]
    waiting = [asyncio.create_task(resolve_of_many(name)) for name in names]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await system_resolve("quick.example")
        assert not any(task.done() for task in waiting)
    finally:
        let_go.set()
        await asyncio.gather(*waiting)
