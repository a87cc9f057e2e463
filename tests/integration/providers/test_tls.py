"""Certificates: the right one serves, every other is refused with its class."""

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.chat import ChatRequest, Content, Message
from tests.fakes.scripted_resolver import ScriptedResolver
from tests.integration.providers.conftest import NAME
from tests.integration.providers.little_server import LittleServer
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


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = folder / "self-signed.pem"
    chain.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


def certificate(fault: str, authority: trustme.CA, folder: Path) -> Any:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    match fault:
        case "wrong name":
            return authority.issue_cert("other.example.com")
        case "the address dialled":
            return authority.issue_cert("127.0.0.1")
        case "expired":
            return authority.issue_cert(
                NAME, not_before=yesterday - dt.timedelta(days=1), not_after=yesterday
            )
        case "unknown authority":
            return trustme.CA().issue_cert(NAME)
        case _:
            return self_signed(folder)


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
    server = await serve(certificate=certificate(fault, authority, tmp_path))

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
