"""One probe: an LLM entry is called for real, as a turn would, and judged.

A stream that is broken off in the middle, then a tool on offer. Nothing that the endpoint says
is kept or logged; what is found are times, classes and words of ours.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from schemas.chat import ChatRequest, Content, Message
from schemas.ids import new_id
from schemas.llm_health import ProbeResult
from workers.agent_config.probe_tool import offer_tool
from workers.errors import ModelError
from workers.providers.chat import Budget, Endpoint, OpenAiChat

ENOUGH: Final = 24
"""Pieces of content after which the stream is broken off: gaps show, and few tokens are paid."""
LISTEN_S: Final = 5.0
"""How long content is listened to at most, from the first piece on."""
PROBE_S: Final = 50.0
"""How long a probe may take in all."""
SLOW_FIRST_TOKEN_MS: Final = 2_500.0
"""From here on a user who waits hears a filler."""
SLOW_TOKENS_MS: Final = 1_000.0
"""A gap from here on is heard in the middle of the reply."""
QUESTION: Final = "Count from one to one hundred in words. Write nothing else."

OpenClient = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]
"""A client with no warm connection: making one is a part of what is tried."""


@dataclass(frozen=True)
class _Streamed:
    first_token_ms: float
    longest_gap_ms: float | None
    cancel_ms: float


async def probe(endpoint: Endpoint, budget: Budget, open_client: OpenClient) -> ProbeResult:
    """Call an endpoint and return how it did; it raises nothing of the endpoint's doing."""
    checked_at = datetime.now(UTC)
    try:
        async with asyncio.timeout(PROBE_S), open_client() as client:
            streamed = await _stream(client, endpoint, budget)
            tools = await offer_tool(client, endpoint, budget)
    except ModelError as error:
        return failed(error, checked_at)
    except TimeoutError:
        late = ModelError("timeout_total", "the probe takes too long", retryable=True)
        return failed(late, checked_at)
    reason, message = _judge(streamed)
    return ProbeResult(
        status="ok" if reason is None else "degraded",
        reason=reason,
        message=message,
        checked_at=checked_at,
        first_token_ms=streamed.first_token_ms,
        longest_gap_ms=streamed.longest_gap_ms,
        cancel_ms=streamed.cancel_ms,
        tools=tools,
    )


def failed(error: ModelError, checked_at: datetime) -> ProbeResult:
    """Return the result of a probe that this error ended."""
    return ProbeResult(
        status="failing",
        reason=error.failure,
        message=str(error),
        status_code=error.status_code,
        checked_at=checked_at,
    )


async def _stream(client: httpx.AsyncClient, endpoint: Endpoint, budget: Budget) -> _Streamed:
    """Listen to a reply for a moment and break it off; raises ModelError."""
    request = ChatRequest(
        messages=(Message("user", QUESTION),),
        session_id=new_id("session"),
        turn_id=new_id("turn"),
        attempt=1,
    )
    began = time.monotonic()
    heard: list[float] = []
    async with OpenAiChat(client, endpoint, budget).stream(request) as events:
        async for event in events:
            if not isinstance(event, Content):
                continue
            heard.append(time.monotonic())
            if len(heard) >= ENOUGH or heard[-1] - heard[0] >= LISTEN_S:
                break
        left = time.monotonic()
    if not heard:
        raise ModelError("empty", "the model said nothing", retryable=True)
    gaps = [later - earlier for earlier, later in itertools.pairwise(heard)]
    return _Streamed(
        first_token_ms=_ms(heard[0] - began),
        longest_gap_ms=_ms(max(gaps)) if gaps else None,
        cancel_ms=_ms(time.monotonic() - left),
    )


def _judge(streamed: _Streamed) -> tuple[str | None, str | None]:
    if streamed.first_token_ms >= SLOW_FIRST_TOKEN_MS:
        return "slow_first_token", "the first word comes late: users hear a pause"
    if (streamed.longest_gap_ms or 0) >= SLOW_TOKENS_MS:
        return "slow_tokens", "the words come with long gaps: users hear them"
    return None, None


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
