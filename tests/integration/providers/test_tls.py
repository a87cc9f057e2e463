"""Certificates: the right one serves, every other is refused with its class."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from schemas.chat import ChatRequest, Content, Message
from tests.fakes.scripted_resolver import ScriptedResolver
from tests.integration.providers.conftest import NAME
from tests.integration.providers.little_server import LittleServer
from tests.servers.certificates import certificate
from workers.errors import ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client

REQUEST = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 1)
Serve = Callable[..., Any]


async def ask(server: LittleServer, host: str, trusting: ssl.SSLContext | None) -> str:
    allow = parse_allow(f"{host}:{server.port}")
    resolver = ScriptedResolver(["127.0.0.1"])
    async with open_client(Budget(), 4, allow, verify=trusting, resolve=resolver) as http:
        chat = OpenAiChat(http, Endpoint(f"https://{host}:{server.port}/v1", "any"), Budget())
        async with chat.stream(REQUEST) as events:
            return "".join([event.text async for event in events if isinstance(event, Content)])


@pytest.mark.parametrize(("host", "asked_for"), [(NAME, [NAME]), ("127.0.0.1", [None])])
async def test_a_right_certificate_is_one_for_the_name_and_not_for_the_address_dialled(
    serve: Serve,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    host: str,
    asked_for: list[str | None],
) -> None:
    server = await serve(certificate=authority.issue_cert(host))

    assert await ask(server, host, trusting) == "Hello."
    assert server.names == asked_for


@pytest.mark.parametrize(
    "fault",
    ["wrong name", "the address dialled", "expired", "unknown authority", "self-signed"],
)
async def test_any_other_certificate_is_refused_and_nothing_is_sent(
    fault: str,
    serve: Serve,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    tmp_path: Path,
) -> None:
    server = await serve(certificate=certificate(fault, NAME, authority, tmp_path))

    with pytest.raises(ModelError) as failed:
        await ask(server, NAME, trusting)

    assert failed.value.failure == "tls"
    assert not failed.value.can_retry
    assert server.heads == []


async def test_an_authority_that_only_the_environment_names_is_not_trusted(
    serve: Serve, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = await serve(certificate=authority.issue_cert(NAME))

    with pytest.raises(ModelError) as failed:
        await ask(server, NAME, None)

    assert failed.value.failure == "tls"


async def test_a_server_that_speaks_no_tls_is_refused_with_the_same_class(
    serve: Serve, trusting: ssl.SSLContext
) -> None:
    server = await serve(answer=b"220 hello\r\n\r\n", greets=True)

    with pytest.raises(ModelError) as failed:
        await ask(server, NAME, trusting)

    assert failed.value.failure == "tls"


async def test_a_user_s_endpoint_with_a_private_address_is_a_blocked_address() -> None:
    resolver = ScriptedResolver(["10.0.0.1"])
    async with open_client(Budget(), 4, parse_allow(""), resolve=resolver) as http:
        chat = OpenAiChat(http, Endpoint(f"https://{NAME}/v1", "any"), Budget())
        with pytest.raises(ModelError) as failed:
            async with chat.stream(REQUEST) as events:
                _ = [event async for event in events]

    assert failed.value.failure == "blocked_address"
    assert not failed.value.can_retry
    assert "10.0.0.1" not in str(failed.value)
    assert len(resolver.asked) == 1
