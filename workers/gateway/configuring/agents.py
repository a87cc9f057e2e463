"""The routes of agents and voices."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from schemas.agent import VOICES, Agent, AgentCreate, AgentUpdate, LlmView
from schemas.closed import Closed
from schemas.ids import AgentId, agent_id_of, is_id
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.cursors import read_cursor, write_cursor
from workers.gateway.resources import Resources
from workers.gateway.rest_errors import ApiError
from workers.storage.agents.rows import position_of
from workers.web.query import IN_DIGITS

MOST_WHOLE: Final = 50
"""Whole records on a page, which may be some 100 kB each, and agents that are asked for by name."""

Account = Annotated[str, Depends(require_account)]
OwnName = Annotated[str, Field(min_length=1, max_length=256)]

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
    """A part of the list of agents, newest first; whole records where they were asked for."""

    agents: tuple[AgentSummary | Agent, ...]
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
    *,
    account: Account,
    held: Held,
    limit: Annotated[int, Field(ge=1, le=200), IN_DIGITS, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    external_id: Annotated[list[OwnName], Query(max_length=MOST_WHOLE, default_factory=list)],
    agent_id: Annotated[
        list[OwnName], Query(alias="id", max_length=MOST_WHOLE, default_factory=list)
    ],
    full: Annotated[bool, Query()] = False,
) -> AgentPage:
    """List agents, newest first; `next_cursor` asks for those behind the last one.

    With `external_id` or `id`, each up to 50 times, those of them that are there, on one page.
    With `full`, whole records, 50 on a page at most.
    """
    if external_id or agent_id:
        named = {agent_id_of(account, name) for name in external_id}
        named |= {each for each in agent_id if is_id("agent", each)}
        shown, has_more = await held.agents.named(account, named), False
    else:
        limit = min(limit, MOST_WHOLE) if full else limit
        found = await held.agents.page(account, limit + 1, read_cursor(cursor))
        shown, has_more = found[:limit], len(found) > limit
    return AgentPage(
        agents=tuple(agent if full else _summary(agent) for agent in shown),
        has_more=has_more,
        response_metadata=ResponseMetadata(
            next_cursor=write_cursor(position_of(shown[-1])) if has_more else None
        ),
    )


def _summary(agent: Agent) -> AgentSummary:
    return AgentSummary.model_validate(agent.model_dump(include=set(AgentSummary.model_fields)))


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
