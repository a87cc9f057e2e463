"""One event loop per worker process, on a thread of its own, with one set of clients."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import uvloop

C = TypeVar("C")
T = TypeVar("T")


class LoopThread(Generic[C]):
    """Opens the clients once, runs coroutines for other threads, closes the clients at the end."""

    def __init__(self, open_clients: Callable[[], AbstractAsyncContextManager[C]]) -> None:
        self._open_clients = open_clients
        self._ready: concurrent.futures.Future[C] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="turns-loop", daemon=True)
        self._running: set[concurrent.futures.Future[Any]] = set()

    def start(self, timeout_s: float) -> C:
        """Start the loop and return its clients; raises what kept them from opening."""
        self._thread.start()
        return self._ready.result(timeout_s)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; CancelledError if the loop is stopped."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(future)
        try:
            return future.result()
        finally:
            self._running.discard(future)

    def cancel_all(self) -> None:
        """Cancel every coroutine under way."""
        for future in tuple(self._running):
            future.cancel()

    def close(self, timeout_s: float) -> None:
        """Close the clients, the last one opened first, and end the thread."""
        self.cancel_all()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        # Its sockets and timers cost half of what asyncio's own do.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with self._open_clients() as clients:
                self._ready.set_result(clients)
                await self._stop.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
