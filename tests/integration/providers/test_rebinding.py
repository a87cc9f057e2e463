"""A thousand tries to get at a listener on the loopback interface: none arrives."""

import json
import ssl
from collections.abc import Callable
from itertools import cycle
from typing import Any

import httpx
import pytest
import trustme
from pydantic import SecretStr

from schemas.chat import ChatRequest, Message
from tests.fakes.scripted_resolver import ScriptedResolver
from tests.integration.providers.conftest import NAME, NotingDialler
from tests.integration.providers.little_server import redirect
from workers.errors import BlockedAddressError, ModelError
from workers.providers.base_url_allow import parse_allow
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.providers.chat import Budget, Endpoint, OpenAiChat, open_client
from workers.providers.pinned_transport import PinnedTransport

KEY = "sk-never-to-be-seen-elsewhere"
REQUEST = ChatRequest((Message("user", "Hi"),), "session_1", "turn_1", 1)
PUBLIC = "93.184.215.14"
LOOPBACK = (["127.0.0.1"], ["::ffff:127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"])
Serve = Callable[..., Any]


def at_port(port: int) -> BaseUrlPolicy:
    """The rules for users, with public endpoints on the listener's port instead of 443."""
    return BaseUrlPolicy(https_port=port)


async def test_a_name_that_is_public_when_checked_and_loopback_when_dialled_gets_no_connection(
    serve: Serve, trusting: ssl.SSLContext
) -> None:
    listener = await serve()
    policy = at_port(listener.port)
    url = f"https://{NAME}:{listener.port}/v1"

    for _, later in zip(range(500), cycle(LOOPBACK)):
        resolver = ScriptedResolver([PUBLIC], later)
        assert str(await check_base_url(url, policy, resolver)) == url
        transport = PinnedTransport(
            policy, limits=httpx.Limits(), verify=trusting, resolve=resolver
        )
        async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
            with pytest.raises(BlockedAddressError):
                await http.post(url, headers={"Authorization": f"Bearer {KEY}"})

    assert listener.connections == 0


async def test_a_name_that_changes_between_any_two_looks_is_dialled_only_where_it_was_judged(
    serve: Serve, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    listener, elsewhere = await serve(), await serve(certificate=authority.issue_cert(NAME))
    dialler = NotingDialler(elsewhere.port)
    resolver = ScriptedResolver(*([[PUBLIC], ["127.0.0.1"]] * 100))
    transport = PinnedTransport(
        at_port(listener.port),
        limits=httpx.Limits(),
        verify=trusting,
        resolve=resolver,
        dialler=dialler,
    )
    url = f"https://{NAME}:{listener.port}/v1"

    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        for _ in range(100):
            await http.get(url, headers={"Connection": "close"})
            with pytest.raises(BlockedAddressError):
                await http.get(url)

    assert listener.connections == 0
    assert dialler.dialled == [(PUBLIC, listener.port)] * 100
    assert len(resolver.asked) == 200


async def test_a_redirect_to_metadata_or_loopback_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    listener = await serve()
    places = cycle(
        [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
            f"http://127.0.0.1:{listener.port}/",
            f"https://localhost:{listener.port}/",
            f"//127.0.0.1:{listener.port}/",
        ]
    )
    for place in (next(places) for _ in range(4)):
        server = await serve(certificate=authority.issue_cert(NAME), answer=redirect(place))
        allow = parse_allow(f"{NAME}:{server.port}")
        resolver = ScriptedResolver(["127.0.0.1"])
        endpoint = Endpoint(f"https://{NAME}:{server.port}/v1", "any", SecretStr(KEY))
        async with open_client(Budget(), 4, allow, verify=trusting, resolve=resolver) as http:
            chat = OpenAiChat(http, endpoint, Budget())
            for _ in range(75):
                with pytest.raises(ModelError) as failed:
                    async with chat.stream(REQUEST) as events:
                        _ = [event async for event in events]
                assert (failed.value.failure, failed.value.status_code) == ("http_3xx", 307)
                assert KEY not in json.dumps(str(failed.value))
        assert len(server.heads) == 75

    assert listener.connections == 0


async def test_the_listener_would_have_noticed(serve: Serve) -> None:
    listener = await serve()
    allow = parse_allow(f"{NAME}:{listener.port}")
    resolver = ScriptedResolver(["127.0.0.1"])

    transport = PinnedTransport(BaseUrlPolicy(allow), limits=httpx.Limits(), resolve=resolver)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        await http.get(f"http://{NAME}:{listener.port}/v1")

    assert listener.connections == 1
