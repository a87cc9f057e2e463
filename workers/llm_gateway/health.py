"""Whether the process serves, and what is not as it should be."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from redis.exceptions import RedisError

from workers.llm_gateway.held import Held

PATIENCE_S: Final = 0.5

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, Any]:
    """Say that it serves: with the file in force, and Redis away, it still does."""
    held: Held = request.app.state.held
    held.models.table()
    trouble = held.models.trouble
    parts = {"models_file": trouble is None, "redis": await _redis_answers(held)}
    return {"status": "ready", "parts": parts} | ({"models_file_error": trouble} if trouble else {})


async def _redis_answers(held: Held) -> bool:
    if held.redis is None:
        return False
    try:
        async with asyncio.timeout(PATIENCE_S):
            return bool(await held.redis.ping())
    except (RedisError, TimeoutError):
        return False
