"""An application with what surrounds each REST route, and routes that need no server."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query, Request
from httpx import ASGITransport, AsyncClient

from schemas.agent import AgentCreate
from tests.fakes.keys import KeysInADict
from workers.errors import StorageUnavailableError
from workers.gateway.auth import GuardedRoute
from workers.gateway.rest_errors import ApiError, add_error_handlers, crash_response
from workers.web.body_limit import BodyLimit
from workers.web.key_ring import KeyRing
from workers.web.request_log import RequestLog

KEY = "test-key-0123456789"
PLANTED = "sk-planted-8f3a"


def application() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.state.keys = KeyRing(KEY, KeysInADict().look_up, ThreadPoolExecutor(1))
    app.router.route_class = GuardedRoute
    add_error_handlers(app)

    @app.post("/agents")
    async def take(agent: AgentCreate) -> dict[str, str]:
        return {"name": agent.name}

    @app.get("/number")
    async def number(n: Annotated[int, Query(ge=1)]) -> int:
        return n

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/crash")
    async def crash() -> None:
        raise ValueError(PLANTED)

    @app.get("/away")
    async def away() -> None:
        raise StorageUnavailableError("the database: OperationalError")

    @app.get("/refused")
    async def refused() -> None:
        raise ApiError(404, "agent_not_found", "there is no such agent", "agent_id")

    app.add_middleware(BodyLimit, limit=1_000, arrive_s=0.2)
    app.add_middleware(RequestLog, on_crash=crash_response)
    return app


@asynccontextmanager
async def calling() -> AsyncIterator[AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = ASGITransport(application())
    async with AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
        yield client


def agent(**fields: object) -> dict[str, object]:
    return {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}, **fields}
