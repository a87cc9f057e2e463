"""Which pages may call from a browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from httpx import ASGITransport, AsyncClient

from tests.servers.parts import configure
from workers.errors import ConfigurationError
from workers.gateway.app import create_app
from workers.settings import Settings

PAGE = "https://app.example.com"
ASKS = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@asynccontextmanager
async def client(settings: Settings, origins: str) -> AsyncIterator[AsyncClient]:
    app = create_app(configure(settings, cors_origins=origins))
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def test_nobody_may_unless_the_operator_says_so(settings: Settings) -> None:
    async with client(settings, "") as caller:
        asked = await caller.options("/v1/agents", headers=ASKS)
        got = await caller.get("/healthz", headers={"Origin": PAGE})
    assert asked.status_code == 405
    for answer in (asked, got):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [PAGE, f"http://localhost:5173, {PAGE}", "*"])
async def test_a_page_that_is_named_may_with_a_key_and_without_credentials(
    settings: Settings, origins: str
) -> None:
    async with client(settings, origins) as caller:
        asked = await caller.options("/v1/agents/x", headers=ASKS)
        got = await caller.get("/healthz", headers={"Origin": PAGE})
        failed = await caller.get("/nowhere", headers={"Origin": PAGE})
    assert asked.status_code == 200
    assert "PUT" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    for answer in (asked, got, failed):
        assert answer.headers["access-control-allow-origin"] in {PAGE, "*"}
        assert "access-control-allow-credentials" not in answer.headers
    assert "X-Request-Id" in got.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://other.example.com", f"{PAGE}.evil.com", "null", "http://app.example.com"]
)
async def test_another_page_may_not(settings: Settings, origin: str) -> None:
    async with client(settings, PAGE) as caller:
        asked = await caller.options("/v1/agents", headers={**ASKS, "Origin": origin})
        got = await caller.get("/healthz", headers={"Origin": origin})
    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in got.headers


@pytest.mark.parametrize("origins", ["app.example.com", f"{PAGE}/", "https://*.example.com"])
def test_what_is_no_origin_stops_the_start(settings: Settings, origins: str) -> None:
    with pytest.raises(ConfigurationError, match="EDGEWISE_CORS_ORIGINS"):
        create_app(configure(settings, cors_origins=origins))
