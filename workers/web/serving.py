"""Run an ASGI application under uvicorn on uvloop, and say where it listens."""

import asyncio
import contextlib
import errno
import gc
import json
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from workers.errors import ConfigurationError

STOP_S = 1
"""How long open connections may finish once a stop was asked for, in seconds."""
BACKLOG = 2048

log = structlog.get_logger(__name__)


def run_app(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    settings: str,
    announce: Path,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` holds `{"url", "pid"}` while it listens.

    Port 0 takes a free one. `settings` is what the variables of host and port begin with. `on_stop`
    is called on the event loop when a stop begins, before calls are cut off. Raises
    ConfigurationError where the address cannot be had.
    """
    listener = listen(host, port, settings)
    config = uvicorn.Config(
        app,
        # httptools, which uvicorn prefers where it is installed, takes headers without end.
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=STOP_S,
    )
    # A full collection of what the imports left behind stops the loop for 100 ms and more.
    gc.collect()
    gc.freeze()
    server = _Server(config, announce, reachable_url(*listener.getsockname()[:2]), on_stop)
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))


def listen(host: str, port: int, settings: str) -> socket.socket:
    """Return a listening TCP socket; raises ConfigurationError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = f"{error.strerror}; mend {settings}_HOST or {settings}_PORT"
        if error.errno == errno.EADDRINUSE:
            mend = f"stop what listens there, or set {settings}_PORT (0 takes a free one)"
            why = f"it is taken; {mend}"
        raise ConfigurationError(f"cannot listen on {host} port {port}: {why}") from None


def reachable_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches an address; a wildcard reads loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Uvicorn that announces itself once it listens, and for which a stop is no failure."""

    def __init__(
        self, config: uvicorn.Config, announce: Path, url: str, on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._announce = announce
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        write_json(self._announce, {"url": self._url, "pid": os.getpid()})
        log.info("listening", url=self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._announce.unlink(missing_ok=True)
        self._on_stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; uvicorn's own would raise them again after the stop."""
        asked = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in asked}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def write_json(path: Path, value: dict[str, str | int]) -> None:
    """Write a small JSON file in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(value, file)
    Path(file.name).replace(path)
