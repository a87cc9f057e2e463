"""A tool call whose arguments break off: the model is told, the user hears its answer."""

import json
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine

from schemas.agent import Agent, Input, Output, Voice
from schemas.ids import new_id
from schemas.tool import ToolView
from schemas.turn import ReplyAudio, ToolAsked, TurnTask
from tests.fakes.stage import Stage
from tests.integration.turns.chain import Chain, running_chain
from tests.integration.turns.failed_turn import clean_turn
from workers.settings import Settings
from workers.storage.turns.tool_records import ToolRecords
from workers.turns.tool_headers import HeaderReader
from workers.turns.toolbox import AgentTools, TurnToolbox

ROOM = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}


def toolbox(chain: Chain, settings: Settings) -> TurnToolbox:
    """Return a turn's toolbox with one tool of the client."""
    now = datetime.now(UTC)
    agent = Agent(
        id=new_id("agent"),
        name="Ada",
        system_prompt="Be brief.",
        greeting=None,
        voice=Voice(voice_id="ivy"),
        input=Input(),
        output=Output(),
        llm=(),
        tools=(ToolView(name="lights", description="Of the client.", parameters=ROOM),),
        created_at=now,
        updated_at=now,
    )
    task = TurnTask(
        kind="utterance",
        turn_id=new_id("turn"),
        session_id=new_id("session"),
        agent_id=agent.id,
        attempt=1,
        published_at=now.timestamp(),
    )
    headers = HeaderReader.of(create_engine("sqlite://"), settings)
    return TurnToolbox(task, agent, AgentTools(ToolRecords(chain.redis), headers, chain.client))


@pytest.mark.parametrize("after", [0, 1, 40])
async def test_arguments_that_break_off_are_told_the_model_which_then_answers(
    redis: Redis, settings: Settings, after: int
) -> None:
    async with running_chain(redis, 1) as chain:
        server = chain.servers[0]
        server.say = " ".join(f"This is sentence number {n}." for n in range(20))
        server.script = f"broken-tool@{after}"
        stage = Stage(tools=toolbox(chain, settings))
        assert await clean_turn(chain, stage) == "completed"
    offered, told = (request.messages for request in server.requests)
    assert [message["role"] for message in told[len(offered) :]] == ["assistant", "tool"]
    (call,) = told[-2]["tool_calls"]
    assert call["function"] == {"name": "lights", "arguments": "{}"}
    assert json.loads(told[-1]["content"]) == {"error": "the arguments are no JSON object"}
    assert not stage.of(ToolAsked)
    said = " ".join(stage.texts).split()
    assert said[: after + 3] == [*server.say.split()[:after], "The", "tool", "said:"]
    assert any(isinstance(entry, ReplyAudio) and entry.packets for entry in stage.reply.entries)
