"""Engine processes, seen from the worker: leased one at a time, replaced when they die."""

import asyncio
import contextlib
import math
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Final, Self

import structlog

from workers.providers.speech.engine_host import READY
from workers.providers.speech.engine_queue import EngineQueue
from workers.providers.speech.engine_wire import FAILED, Frame, pack, receive_async

START_S: Final = 20.0
ANSWER_S: Final = 10.0
KEPT_IDLE: Final = 4
"""A burst must not leave its processes behind; to fork another takes 4 ms."""
STREAM_BYTES: Final = 256 * 1024

log = structlog.get_logger(__name__)


class EngineGoneError(Exception):
    """The engine process died, hung or failed at what it was asked."""


class Engine:
    """One leased engine process: ask, then read the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_gone(self) -> bool:
        """True once the process has closed its end."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def send(self, frame: Frame) -> None:
        """Send a frame; raises EngineGoneError."""
        try:
            async with asyncio.timeout(ANSWER_S):
                self._writer.write(pack(frame))
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise EngineGoneError("the engine process does not take its orders") from error

    async def receive(self) -> Frame:
        """Return the next frame of the answer; raises EngineGoneError, after 10 s at the latest."""
        try:
            async with asyncio.timeout(ANSWER_S):
                frame = await receive_async(self._reader)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            raise EngineGoneError("the engine process does not answer") from error
        if frame.kind == FAILED:
            raise EngineGoneError("the engine failed")
        return frame

    def close(self) -> None:
        """End the process: it sees the end of its input."""
        self._writer.close()


class EnginePool:
    """Up to `size` engine processes of one kind; who finds none free waits for one."""

    def __init__(self, module: str, size: int, beside: "EnginePool | None" = None) -> None:
        """Take the engine's module; the processes of a pool `beside` another have its host."""
        self._module = module
        self._host_of = beside or self
        self._queue = EngineQueue(size)
        self._idle: list[Engine] = []
        self._starting = asyncio.Lock()
        self._host: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def __aenter__(self) -> Self:
        async with self.lease():
            pass
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_idle()
        self.drop_host()

    def _close_idle(self) -> None:
        for engine in self._idle:
            engine.close()
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def lease(self, due: float = -math.inf) -> AsyncIterator[Engine]:
        """Lend an engine process; one that is left in the middle of an answer is ended.

        Who finds none free waits, those first whose work is due first on the loop's clock.
        """
        async with self._queue.place(due):
            engine = await self._take()
            try:
                yield engine
            except EngineGoneError:
                engine.close()
                # What ended one has often ended them all: the next try gets a fresh process.
                self._close_idle()
                raise
            except BaseException:
                engine.close()
                raise
            if len(self._idle) < KEPT_IDLE:
                self._idle.append(engine)
            else:
                engine.close()

    async def _take(self) -> Engine:
        while self._idle:
            engine = self._idle.pop()
            if not engine.is_gone:
                return engine
            engine.close()
        try:
            return await self._host_of.fork()
        except (OSError, EngineGoneError):
            log.warning("engine_host_lost", module=self._module)
            self._host_of.drop_host()
        try:
            return await self._host_of.fork()
        except OSError as error:
            raise EngineGoneError("the engine process does not start") from error

    async def fork(self) -> Engine:
        """Return a further process of the host; raises OSError and EngineGoneError."""
        async with self._starting:
            if self._control is None:
                self._control = await self._start_host()
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    socket.send_fds(self._control, [b"f"], [theirs.fileno()])
                engine = Engine(*await asyncio.open_connection(sock=ours, limit=STREAM_BYTES))
            except OSError:
                ours.close()
                raise
            # A host that is dying takes orders and follows none: wait until the child is there.
            try:
                await engine.receive()
            except EngineGoneError:
                engine.close()
                raise
            return engine

    async def _start_host(self) -> socket.socket:
        control, theirs = socket.socketpair()
        with theirs:
            self._host = subprocess.Popen(  # noqa: ASYNC220  # it forks in a millisecond; asyncio's own needs a child watcher
                [sys.executable, "-m", self._module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        control.setblocking(False)  # noqa: FBT003  # the socket module's own signature
        try:
            async with asyncio.timeout(START_S):
                answer = await asyncio.get_running_loop().sock_recv(control, 1)
        except BaseException:
            control.close()
            self.drop_host()
            raise
        if answer != READY:
            control.close()
            self.drop_host()
            raise ConnectionError("the engine process ended while it started")
        return control

    def drop_host(self) -> None:
        """End the host; the next process is forked by a new one."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._host is not None:
            self._host.kill()
            self._host.wait()
            self._host = None
