"""A certificate authority, servers on real sockets, and a dialler that notes where to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import httpcore
import pytest
import trustme

from tests.integration.providers.little_server import LittleServer

NAME = "models.example.com"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """What a client trusts that knows the authority, and nothing else."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Start a server: `await serve(certificate=…, answer=…)`."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> LittleServer:
            return await stack.enter_async_context(LittleServer(**options))

        yield start


class NotingDialler(httpcore.AsyncNetworkBackend):
    """Notes the addresses it is told to dial, and takes each to a server here instead."""

    def __init__(self, port: int | None = None) -> None:
        self.dialled: list[tuple[str, int]] = []
        self._port = port
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if self._port is None:
            await asyncio.Event().wait()
        assert self._port is not None
        return await self._real.connect_tcp(
            "127.0.0.1", self._port, timeout, local_address, socket_options
        )
