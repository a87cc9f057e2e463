"""A session that a token opened: it says when it ends, and ends then."""

import time

import httpx
import pytest
import structlog
from redis.asyncio import Redis

from schemas.session_events import SessionError, SessionReady
from tests.integration.gateway_sessions.client import Client
from tests.integration.gateway_sessions.conftest import Gateway
from workers.storage.accounts.session_tokens import TokenGrant, issue_token


def _calling_with(gateway: Gateway, token: str) -> httpx.AsyncClient:
    gateway.http.headers["Authorization"] = f"Bearer {token}"
    return gateway.http


async def test_a_session_ends_when_its_token_allows_no_more(gateway: Gateway, redis: Redis) -> None:
    grant = TokenGrant(account="default", key_id=None, session_s=2)
    http = _calling_with(gateway, await issue_token(redis, grant, 60))
    agent = gateway.agents.add()
    began = time.time()
    with structlog.testing.capture_logs() as logs:
        async with Client.calling(http, agent.id) as client:
            (ready,) = [event for event in client.events if isinstance(event, SessionReady)]
            assert ready.expires_at == pytest.approx(began + 2, abs=1)
            await client.until(lambda: "session.ended" in client.types)
            lasted = time.time() - began
            await client.until(lambda: len(gateway.sessions) == 0)
    assert 2 <= lasted < 4
    (error,) = [event for event in client.events if isinstance(event, SessionError)]
    assert error.code == "session_expired"
    assert client.types[-2:] == ["session.error", "session.ended"]
    (ended,) = [entry for entry in logs if entry["event"] == "session ended"]
    assert ended["reason"] == "expired"


async def test_a_session_that_a_key_opened_has_no_end(gateway: Gateway) -> None:
    key = gateway.keys.add("talk")
    http = _calling_with(gateway, key)
    async with Client.calling(http, gateway.agents.add().id) as client:
        (ready,) = [event for event in client.events if isinstance(event, SessionReady)]
        assert ready.expires_at is None
