"""A model behind a certificate that proves nothing: the user hears of it, the model of nothing."""

import ssl
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from tests.fakes.scripted_resolver import ScriptedResolver
from tests.fakes.stage import Stage
from tests.integration.providers.little_server import LittleServer
from tests.integration.turns.chain import PATIENT, Chain
from tests.integration.turns.failed_turn import failed_turn
from tests.servers.certificates import certificate
from tests.servers.model_server import ModelServer
from workers.providers.base_url_allow import parse_allow
from workers.providers.chat import open_client

HOST = "models.example.com"


@pytest.mark.parametrize("fault", ["wrong name", "expired", "self-signed"])
async def test_a_certificate_that_proves_nothing_is_heard_as_a_model_out_of_reach(
    redis: Redis, tmp_path: Path, fault: str
) -> None:
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    model = ModelServer()
    shown = certificate(fault, HOST, authority, tmp_path)
    async with (
        LittleServer(certificate=shown) as server,
        open_client(
            PATIENT,
            4,
            parse_allow(f"{HOST}:{server.port}"),
            verify=trusting,
            resolve=ScriptedResolver(["127.0.0.1"]),
        ) as client,
    ):
        model.base_url = f"https://{HOST}:{server.port}/v1"
        stage = Stage()
        error = await failed_turn(Chain(client, redis, [model]), stage)
    assert error.code == stage.done.metrics.failures[-1].code == "tls"
    assert stage.texts == ["Sorry, I could not reach the language model."]
    assert server.connections <= 1
    assert server.heads == []
