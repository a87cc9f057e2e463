"""The event loop that a worker's threads share."""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workers.turns.loop import LoopThread


async def test_clients_are_opened_once_and_closed_at_the_end() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def clients() -> AsyncIterator[str]:
        steps.append("open")
        yield "client"
        steps.append("close")

    async def work() -> int:
        steps.append("work")
        return 7

    loop = LoopThread(clients)
    assert loop.start(5) == "client"
    assert loop.run(work()) == 7
    assert loop.run(work()) == 7
    loop.close(5)
    assert steps == ["open", "work", "work", "close"]


async def test_what_keeps_the_clients_from_opening_is_raised_at_the_start() -> None:
    async def connect() -> str:
        raise LookupError

    @asynccontextmanager
    async def clients() -> AsyncIterator[str]:
        yield await connect()

    with pytest.raises(LookupError):
        LoopThread(clients).start(5)


async def test_closing_cancels_what_is_still_running() -> None:
    @asynccontextmanager
    async def clients() -> AsyncIterator[None]:
        yield

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    def run() -> None:
        with pytest.raises(concurrent.futures.CancelledError):
            loop.run(work())

    begun = threading.Event()
    loop = LoopThread(clients)
    loop.start(5)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(run)
        assert begun.wait(5)
        loop.close(5)
        running.result(5)
