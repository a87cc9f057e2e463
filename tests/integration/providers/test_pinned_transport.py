"""The transport on real sockets: what is judged is what is dialled, and nothing else."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
import trustme

from tests.fakes.scripted_resolver import ScriptedResolver
from tests.integration.providers.conftest import NAME, NotingDialler
from tests.integration.providers.little_server import redirect
from tests.servers.stalls import Stalls
from workers.errors import BlockedAddressError, InvalidBaseUrlError
from workers.providers.base_url_allow import parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.pinned_transport import PinnedBackend, PinnedTransport
from workers.providers.public_address import IpAddress
from workers.providers.warm_connections import WarmConnections

PUBLIC = "93.184.215.14"
Serve = Callable[..., Any]


def client(
    resolve: ScriptedResolver,
    allow: str = "",
    *,
    dialler: httpcore.AsyncNetworkBackend | None = None,
    verify: ssl.SSLContext | None = None,
    connect_s: float = 5,
    follow_redirects: bool = False,
) -> httpx.AsyncClient:
    transport = PinnedTransport(
        BaseUrlPolicy(parse_allow(allow)),
        limits=httpx.Limits(),
        verify=verify,
        resolve=resolve,
        dialler=dialler,
    )
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(5, connect=connect_s),
        follow_redirects=follow_redirects,
    )


async def test_a_public_name_is_dialled_at_the_judged_address_under_its_own_name(
    serve: Serve, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    server = await serve(certificate=authority.issue_cert(NAME))
    dialler, resolver = NotingDialler(server.port), ScriptedResolver([PUBLIC], ["127.0.0.1"])

    async with client(resolver, dialler=dialler, verify=trusting) as http:
        for _ in range(3):
            assert (await http.get(f"https://{NAME}/v1")).status_code == 200

    assert dialler.dialled == [(PUBLIC, 443)]
    assert resolver.asked == [NAME]
    assert server.names == [NAME]
    assert all(f"\r\nhost: {NAME}\r\n" in head.lower() for head in server.heads)


async def test_an_allowed_name_is_reached_by_http_where_it_lives(serve: Serve) -> None:
    server = await serve()

    async with client(ScriptedResolver(["127.0.0.1"]), f"ollama.lan:{server.port}") as http:
        assert (await http.get(f"http://ollama.lan:{server.port}/v1")).status_code == 200

    assert f"host: ollama.lan:{server.port}" in server.heads[0].lower()


@pytest.mark.parametrize("host", ["OLLAMA.lan", "ollama.lan."])
async def test_an_allowed_name_is_allowed_however_it_is_spelt(serve: Serve, host: str) -> None:
    server = await serve()

    async with client(ScriptedResolver(["127.0.0.1"]), f"ollama.lan:{server.port}") as http:
        assert (await http.get(f"http://{host}:{server.port}/v1")).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["::1"], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"]],
    ids=" ".join,
)
async def test_a_name_with_any_other_address_is_not_dialled_at_all(answer: list[str]) -> None:
    dialler = NotingDialler()

    async with client(ScriptedResolver(answer), dialler=dialler) as http:
        with pytest.raises(BlockedAddressError) as refused:
            await http.get(f"https://{NAME}/v1")

    assert dialler.dialled == []
    assert not any(address in str(refused.value) for address in answer)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://models.example.com/v1", InvalidBaseUrlError),
        ("https://models.example.com:6379/v1", InvalidBaseUrlError),
        ("https://127.0.0.1/v1", BlockedAddressError),
        ("https://localhost/v1", BlockedAddressError),
        ("https://0x7f000001/v1", InvalidBaseUrlError),
        ("ftp://models.example.com/v1", InvalidBaseUrlError),
    ],
)
async def test_a_request_is_refused_by_its_text_before_any_name_is_asked_for(
    url: str, error: type[Exception]
) -> None:
    resolver = ScriptedResolver([PUBLIC])

    async with client(resolver, dialler=NotingDialler()) as http:
        with pytest.raises(error):
            await http.get(url)

    assert resolver.asked == []


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest", "https://localhost/"])
async def test_even_a_client_that_follows_redirects_gets_nowhere_private(
    serve: Serve, where: str
) -> None:
    server = await serve(answer=redirect(where))
    allow = f"127.0.0.1:{server.port}"

    async with client(ScriptedResolver(["127.0.0.1"]), allow, follow_redirects=True) as http:
        with pytest.raises((BlockedAddressError, InvalidBaseUrlError)):
            await http.get(f"http://127.0.0.1:{server.port}/v1")


async def test_no_proxy_of_the_environment_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = await serve(), await serve()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

    async with client(ScriptedResolver(["127.0.0.1"]), "a.lan") as http:
        await http.get(f"http://a.lan:{server.port}/v1")

    assert (server.connections, proxy.connections) == (1, 0)


async def test_an_address_that_does_not_answer_gives_way_to_the_next(serve: Serve) -> None:
    server, gone = await serve(), await serve()
    await gone.__aexit__()
    answer = ["127.0.0.2", "127.0.0.1"]  # nothing listens on the first

    async with client(ScriptedResolver(answer), "a.lan") as http:
        assert (await http.get(f"http://a.lan:{server.port}/v1")).status_code == 200
        with pytest.raises(httpx.ConnectError, match="no address of the host answers"):
            await http.get(f"http://a.lan:{gone.port}/v1")


async def test_a_name_without_an_address_is_an_error_to_connect() -> None:
    async with client(ScriptedResolver([])) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"https://{NAME}/v1")


class HangingResolver(ScriptedResolver):
    async def __call__(self, host: str) -> tuple[IpAddress, ...]:
        await asyncio.Event().wait()
        return await super().__call__(host)


@pytest.mark.parametrize("hangs", ["name", "dial", "handshake"])
async def test_name_dial_and_handshake_share_one_deadline(
    hangs: str, serve: Serve, stalls: Stalls
) -> None:
    mute = await serve(is_mute=True)
    resolver = HangingResolver([PUBLIC]) if hangs == "name" else ScriptedResolver([PUBLIC])
    dialler = NotingDialler(mute.port if hangs == "handshake" else None)

    began = time.monotonic()
    async with client(resolver, dialler=dialler, connect_s=0.2) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get(f"https://{NAME}/v1")

    ended = time.monotonic()
    assert ended - began >= 0.2
    assert stalls.seconds(began, ended) < 0.7


async def test_what_dialling_took_is_missing_from_the_handshake_s_time(
    serve: Serve, stalls: Stalls
) -> None:
    mute = await serve(is_mute=True)

    class SlowResolver(ScriptedResolver):
        async def __call__(self, host: str) -> tuple[IpAddress, ...]:
            await asyncio.sleep(0.4)
            return await super().__call__(host)

    began = time.monotonic()
    async with client(
        SlowResolver([PUBLIC]), dialler=NotingDialler(mute.port), connect_s=0.5
    ) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get(f"https://{NAME}/v1")

    ended = time.monotonic()
    assert ended - began >= 0.5
    assert stalls.seconds(began, ended) < 0.85


class MuteLine(httpcore.AsyncNetworkStream):
    """A connection whose other end never answers the handshake."""

    def __init__(self) -> None:
        self.is_shaking_hands = asyncio.Event()
        self.is_closed = False

    async def start_tls(self, *_: object) -> httpcore.AsyncNetworkStream:
        self.is_shaking_hands.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True


async def test_a_handshake_that_is_cancelled_leaves_no_connection() -> None:
    line = MuteLine()

    class Dialler(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
            return line

    async with client(ScriptedResolver([PUBLIC]), dialler=Dialler()) as http:
        asking = asyncio.create_task(http.get(f"https://{NAME}/v1"))
        await asyncio.wait_for(line.is_shaking_hands.wait(), 5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    assert line.is_closed


async def test_a_unix_socket_is_never_an_endpoint() -> None:
    with pytest.raises(httpcore.UnsupportedProtocol):
        await PinnedBackend(BaseUrlPolicy()).connect_unix_socket("/run/docker.sock")


def test_httpx_keeps_its_pool_where_the_transport_puts_ours() -> None:
    plain = httpx.AsyncHTTPTransport(trust_env=False)
    ours = PinnedTransport(BaseUrlPolicy(), limits=httpx.Limits(max_connections=7))

    assert isinstance(plain._pool, httpcore.AsyncConnectionPool)
    assert vars(plain).keys() == {"_pool"}
    pool: object = ours._pool  # which httpx declares to be its own
    assert isinstance(pool, WarmConnections)
    assert isinstance(pool.backend, PinnedBackend)
    assert pool.most == 7
