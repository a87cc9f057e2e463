"""A gateway and an upstream, both on real sockets in the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import AsyncOpenAI
from redis.asyncio import Redis

from tests.integration.llm_gateway.scripted_upstream import SECRET, ScriptedUpstream
from workers.llm_gateway.app import create_app
from workers.settings import Settings

KEY = "test-key-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """Serve an application; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # pytest's own stay
        serving = asyncio.create_task(server.serve([listener]), name="serve")
        try:
            async with asyncio.timeout(10):
                while not server.started:
                    await asyncio.sleep(0.01)
                    assert not serving.done()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait([serving], timeout=10)


@pytest.fixture
async def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def upstream_url(upstream: ScriptedUpstream) -> AsyncIterator[str]:
    async with listening(upstream.app) as url:
        yield f"{url}/v1"


@pytest.fixture
def models(tmp_path: Path, upstream_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's file: every script of the upstream under its own name."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)
    names = ["plain", "tools", "uncounted", "endless", "silent", "html", "in-band", "fails-late"]
    names += ["speechless", "no-choices"]
    names += ["breaks-off", "begun-and-broken", "400", "401", "404", "429", "500", "503", "307"]
    file = tmp_path / "models.toml"
    entry = '[models."{0}"]\nbase_url = "{1}"\nmodel = "{0}"\napi_key_env = "UPSTREAM_KEY"\n'
    nobody = '[models.nobody]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "x"\n'
    region = '[models."eu/plain"]\nbase_url = "{0}"\nmodel = "plain"\nregion = "eu"\n'
    hasty = '[models.hasty]\nbase_url = "{0}"\nmodel = "silent"\nfirst_token_s = 0.3\n'
    file.write_text(
        "".join(entry.format(name, upstream_url) for name in names)
        + nobody
        + region.format(upstream_url)
        + hasty.format(upstream_url)
    )
    return file


@pytest.fixture
def gateway_settings(settings: Settings, models: Path) -> Settings:
    return settings.model_copy(update={"llm_gateway_models": models})


@pytest.fixture
async def gateway_url(
    gateway_settings: Settings,
    redis: Redis,  # noqa: ARG001  # it is emptied once the gateway has stopped
) -> AsyncIterator[str]:
    async with listening(create_app(gateway_settings)) as url:
        yield url


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[AsyncOpenAI]:
    """The public client, as anyone would make it."""
    async with AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def http(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_url, headers=HEADERS, timeout=20) as client:
        yield client


def ask(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await holds():  # noqa: ASYNC110  # what is asked is another process's matter
            await asyncio.sleep(0.02)


def add(models: Path, text: str) -> None:
    """Write the file longer, as an editor does: a new one in place of the old one."""
    put(models, models.read_text() + text)


def put(models: Path, text: str) -> None:
    new = models.with_suffix(".new")
    new.write_text(text)
    new.replace(models)
