"""The routes that say whether an agent's own models work."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from redis.asyncio import Redis
from sqlalchemy import Engine

from schemas.agent import Agent
from schemas.error import ErrorBody
from schemas.ids import is_id
from schemas.llm_health import EntryHealth, LlmHealth
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.resources import Resources
from workers.gateway.rest_errors import ApiError
from workers.storage.agents.probe_rows import ask_for_probe, health_of
from workers.storage.database import reading, writing
from workers.storage.turns.breakers import BreakerRule, Breakers, Circuit, endpoint_name

ASKED_EVERY_S: Final = 10
"""How long an agent's entries cannot be probed again on request, in seconds."""

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        401: "The key is missing or wrong.",
        404: "There is no such agent.",
        503: "The storage does not answer; try again after `Retry-After`.",
    }.items()
}
_REFUSALS_TO_ASK: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": ErrorBody, "description": "The agent has no model of its own."},
    429: {"model": ErrorBody, "description": "Asked too often; wait for `Retry-After`."},
}

router = APIRouter(prefix="/v1", tags=["agents"], route_class=GuardedRoute, responses=_REFUSALS)


async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Held = Annotated[Resources, Depends(_resources)]


Account = Annotated[str, Depends(require_account)]


@router.get("/agents/{agent_id}/llm/health")
async def get_llm_health(agent_id: str, account: Account, held: Held) -> LlmHealth:
    """Return how each LLM entry of an agent did when it was probed, and whether turns ask it."""
    agent = await _find(held, account, agent_id)
    return await _health(agent, account, held)


@router.post("/agents/{agent_id}/llm/health", status_code=202, responses=_REFUSALS_TO_ASK)
async def probe_llm(agent_id: str, account: Account, held: Held) -> LlmHealth:
    """Have the LLM entries of an agent called now; `pending` is false once that is done."""
    agent = await _find(held, account, agent_id)
    if not agent.llm:
        raise ApiError(422, "invalid_request", "the agent has no model of its own")
    await _not_too_often(held.redis, agent.id)
    await asyncio.to_thread(_ask, held.engine, agent.id)
    return await _health(agent, account, held)


async def _find(held: Resources, account: str, agent_id: str) -> Agent:
    agent = await held.agents.get(agent_id, account) if is_id("agent", agent_id) else None
    if agent is None:
        raise ApiError(404, "agent_not_found", "there is no such agent")
    return agent


async def _health(agent: Agent, account: str, held: Resources) -> LlmHealth:
    scheduled = held.settings.llm_probe_every_s > 0
    entries = await asyncio.to_thread(_read, held.engine, agent.id, scheduled=scheduled)
    if agent.tools:
        entries = tuple(map(with_tools, entries))
    names = [endpoint_name(account, entry.base_url, entry.model) for entry in entries]
    circuits = await Breakers(held.redis, BreakerRule()).circuits(names) if names else []
    entries = tuple(map(with_circuit, entries, circuits))
    return LlmHealth(agent_id=agent.id, entries=entries)


def with_circuit(entry: EntryHealth, circuit: Circuit) -> EntryHealth:
    """Return an entry with what its last turns found."""
    until = datetime.now(UTC) + timedelta(seconds=circuit.left_s) if circuit.left_s else None
    return entry.model_copy(update={"circuit": circuit.state, "left_alone_until": until})


def with_tools(entry: EntryHealth) -> EntryHealth:
    """Return an entry as an agent with tools has it: degraded where the model calls none."""
    if entry.status != "ok" or entry.tools == "called":
        return entry
    message = "the model did not call the tool it was offered, and this agent has tools"
    return entry.model_copy(update={"status": "degraded", "reason": "no_tools", "message": message})


async def _not_too_often(redis: "Redis", agent_id: str) -> None:
    key = f"llm:probe:asked:{agent_id}"
    if await redis.set(key, "1", nx=True, ex=ASKED_EVERY_S):
        return
    left = max(1, await redis.ttl(key))
    raise ApiError(
        429,
        "rate_limited",
        f"this agent's models were probed just now; ask again in {left} s",
        headers={"Retry-After": str(left)},
    )


def _ask(engine: Engine, agent_id: str) -> None:
    with writing(engine) as connection:
        ask_for_probe(connection, agent_id, datetime.now(UTC))


def _read(engine: Engine, agent_id: str, *, scheduled: bool) -> tuple[EntryHealth, ...]:
    with reading(engine) as connection:
        return health_of(connection, agent_id, datetime.now(UTC), scheduled=scheduled)
