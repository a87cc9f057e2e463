"""A user who interrupts ends the model's work, with TLS and without."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trustme
from redis.asyncio import Redis

from schemas.turn import Cancel, ReplyText
from tests.fakes.scripted_resolver import ScriptedResolver
from tests.fakes.stage import END, SPEECH, Stage
from tests.integration.turns.chain import ALLOW, PATIENT, Chain
from tests.servers.model_server import ModelServer
from tests.servers.stalls import Stalls
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import open_client

HOST = "models.example.com"


async def put_behind_tls(server: ModelServer) -> tuple[int, ssl.SSLContext]:
    """Return the port where it now listens, and what trusts its certificate."""
    authority = trustme.CA()
    showing, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(HOST).configure_cert(showing)
    authority.configure_trust(trusting)
    await server.hang_up()
    await server.listen("127.0.0.1", 0, showing)
    port = int(server.base_url.split(":")[2].split("/")[0])
    server.base_url = f"https://{HOST}:{port}/v1"
    return port, trusting


@pytest.fixture(params=["http", "https"])
async def chain(redis: Redis, request: pytest.FixtureRequest) -> AsyncIterator[Chain]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ModelServer(token_s=0.01))
        allow, trusting = ALLOW, None
        if request.param == "https":
            port, trusting = await put_behind_tls(server)
            allow = parse_allow(f"{HOST}:{port}")
        resolve = ScriptedResolver(["127.0.0.1"])
        client = open_client(PATIENT, 4, allow, verify=trusting, resolve=resolve)
        yield Chain(await stack.enter_async_context(client), redis, [server])


@pytest.mark.parametrize("script", ["stall", "story"])
async def test_an_interruption_closes_the_connection_within_100_ms(
    chain: Chain, stalls: Stalls, script: str
) -> None:
    server = chain.servers[0]
    server.script = script
    stage = Stage(real_chat=chain.chat())
    async with stage.running():
        stage.say(SPEECH, END)
        request = await server.wait_for_request()
        if script == "story":
            await stage.reply.wait_for(ReplyText)
        stage.say(Cancel(reason="barge_in"))
        cancelled_at = time.monotonic()
        async with asyncio.timeout(2):
            await request.closed.wait()
    assert stage.done.status == "cancelled"
    assert request.closed_at is not None
    assert stalls.seconds(cancelled_at, request.closed_at) < 0.1
