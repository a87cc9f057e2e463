"""Whether this process is alive, and whether what it needs is there."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from workers.gateway.resources import Resources
from workers.storage import presence
from workers.storage.upgrade import is_newest

DEADLINE_S: Final = 2.0
_OPEN: Final[dict[str, Any]] = {"security": []}

router = APIRouter(tags=["health"])


@router.get("/healthz", openapi_extra=_OPEN)
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    openapi_extra=_OPEN,
    responses={503: {"description": "Something that is needed is not there."}},
)
async def readyz(request: Request) -> JSONResponse:
    """Say what this gateway needs and whether it is there: 200 where all is, else 503."""
    held: Resources = request.app.state.resources
    names = ("redis", "database", "turn_workers", "config_workers")
    there = await asyncio.gather(
        _holds(held.redis.ping()),
        _holds(asyncio.to_thread(is_newest, held.engine)),
        _holds(presence.count(held.redis, "turns")),
        _holds(presence.count(held.redis, "config")),
    )
    ready = all(there)
    body = {
        "status": "ready" if ready else "not_ready",
        "parts": dict(zip(names, there, strict=True)),
    }
    return JSONResponse(body, 200 if ready else 503)


async def _holds(question: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return bool(await question)
    except Exception:  # noqa: BLE001  # whatever it is, the part is not there
        return False
