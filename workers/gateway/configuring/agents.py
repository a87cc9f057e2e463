"""The routes of agents and voices."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from schemas.agent import VOICES, Agent, AgentCreate, AgentUpdate, LlmView
from schemas.closed import Closed
from schemas.ids import AgentId, agent_id_of, is_id
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.cursors import read_cursor, write_cursor
from workers.gateway.resources import Resources
from workers.gateway.rest_errors import ApiError
from workers.storage.agent_rows import position_of

Account = Annotated[str, Depends(require_account)]

router = APIRouter(prefix="/v1", tags=["agents"], route_class=GuardedRoute)


class AgentSummary(Closed):
    """An agent in a list."""

    id: AgentId
    name: str
    created_at: datetime
    updated_at: datetime
    llm: tuple[LlmView, ...]


class ResponseMetadata(Closed):
    """How to go on in a list."""

    next_cursor: str | None


class AgentPage(Closed):
    """A part of the list of agents, newest first."""

    agents: tuple[AgentSummary, ...]
    has_more: bool
    response_metadata: ResponseMetadata


class VoiceView(Closed):
    """A voice that `voice_id` may name."""

    voice_id: str
    description: str


class VoiceList(Closed):
    """All voices."""

    voices: tuple[VoiceView, ...]


async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Held = Annotated[Resources, Depends(_resources)]


@router.post("/agents", status_code=201)
async def create_agent(agent: AgentCreate, account: Account, held: Held) -> Agent:
    """Store a new agent and return its record; what is omitted takes its default."""
    return await held.changes.create(account, agent)


@router.get("/agents")
async def list_agents(
    account: Account,
    held: Held,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    external_id: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
) -> AgentPage:
    """List agents, newest first; `next_cursor` asks for those behind the last one.

    With `external_id`, the one that you call so, if it is there.
    """
    if external_id is not None:
        named = await held.agents.get(agent_id_of(account, external_id), account)
        found = [] if named is None else [named]
    else:
        found = await held.agents.page(account, limit + 1, read_cursor(cursor))
    shown, has_more = found[:limit], len(found) > limit
    return AgentPage(
        agents=tuple(
            AgentSummary.model_validate(agent.model_dump(include=set(AgentSummary.model_fields)))
            for agent in shown
        ),
        has_more=has_more,
        response_metadata=ResponseMetadata(
            next_cursor=write_cursor(position_of(shown[-1])) if has_more else None
        ),
    )


@router.get("/agents/{agent_id}")
async def get_agent(agent_id: str, account: Account, held: Held) -> Agent:
    """Return the record of an agent."""
    return await _find(held, account, agent_id)


@router.put("/agents/{agent_id}")
async def update_agent(agent_id: str, update: AgentUpdate, account: Account, held: Held) -> Agent:
    """Replace the fields that are sent, each whole, and return the record.

    Sessions that are under way use it from their next turn on.
    """
    await _find(held, account, agent_id)
    return await held.changes.update(account, agent_id, update)


@router.delete("/agents/{agent_id}", status_code=204)
async def delete_agent(agent_id: str, account: Account, held: Held) -> None:
    """Remove an agent and its keys."""
    await _find(held, account, agent_id)
    await held.changes.delete(account, agent_id)


async def _find(held: Resources, account: str, agent_id: str) -> Agent:
    agent = await held.agents.get(agent_id, account) if is_id("agent", agent_id) else None
    if agent is None:
        raise ApiError(404, "agent_not_found", "there is no such agent", param="agent_id")
    return agent


@router.get("/voices")
async def list_voices(_account: Account) -> VoiceList:
    """List the voices that `voice_id` may name."""
    return VoiceList(
        voices=tuple(
            VoiceView(voice_id=name, description=text) for name, text in sorted(VOICES.items())
        )
    )
