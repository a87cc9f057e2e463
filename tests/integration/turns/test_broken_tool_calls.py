"""Tool calls that are broken: the model is told, the user hears its answer."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine

from schemas.agent import Agent, Input, Output, Voice
from schemas.chat import ToolCall, ToolRound
from schemas.ids import new_id
from schemas.tool import ToolView
from schemas.turn import Done, ReplyAudio, ToolAsked, TurnError, TurnReply, TurnTask
from tests.fakes.stage import Stage
from tests.integration.turns.chain import Chain, running_chain
from tests.integration.turns.failed_turn import clean_turn
from workers.settings import Settings
from workers.storage.turns.streams import TurnStreams
from workers.storage.turns.tool_records import ToolRecords
from workers.turns.clients import Clients
from workers.turns.lost import AttemptLostError
from workers.turns.tasks import take_up
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
    assert json.loads(told[-1]["content"]) == {
        "error": "the text of the arguments is not valid JSON"
    }
    assert not stage.of(ToolAsked)
    said = " ".join(stage.texts).split()
    assert said[: after + 3] == [*server.say.split()[:after], "The", "tool", "said:"]
    assert any(isinstance(entry, ReplyAudio) and entry.packets for entry in stage.reply.entries)


async def tell(_asked: ToolAsked) -> None:
    raise LookupError


async def test_a_call_that_breaks_in_a_way_nobody_foresaw_is_told_the_model(
    redis: Redis, settings: Settings
) -> None:
    async with running_chain(redis, 1) as chain:
        call = ToolCall("a", "lights", '{"room": "hall"}')
        told = await toolbox(chain, settings).call(0, 0, call, tell)
    assert json.loads(told) == {"error": "the call failed"}


async def test_without_redis_an_attempt_is_lost_and_the_model_told_nothing(
    redis: Redis, settings: Settings
) -> None:
    call = ToolCall("a", "lights", '{"room": "hall"}')
    async with running_chain(redis, 1) as chain, Redis(host="127.0.0.1", port=1) as away:
        chain.redis = away
        tools = toolbox(chain, settings)
        with pytest.raises(AttemptLostError):
            await tools.begin(0, ToolRound("", (call,)))
        with pytest.raises(AttemptLostError):
            await tools.call(0, 0, call, tell)


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "1" + "0" * 400])
async def test_values_that_nobody_could_be_sent_are_told_the_model(
    redis: Redis, settings: Settings, value: str
) -> None:
    async with running_chain(redis, 1) as chain:
        asked = ToolRound("", (ToolCall("a", "lights", f'{{"room": {value}}}'),))
        tools = toolbox(chain, settings)
        held = await tools.begin(0, asked)
        told = await tools.call(0, 0, held.calls[0], tell)
    assert held.calls[0].arguments == "{}"
    assert "the text of the arguments has" in json.loads(told)["error"]


async def test_a_turn_that_breaks_says_that_it_is_over(redis: Redis) -> None:
    class Broken:
        async def get(self, _agent_id: str) -> None:
            raise LookupError

    streams = TurnStreams(redis)
    task = TurnTask(
        kind="utterance",
        turn_id=new_id("turn"),
        session_id=new_id("session"),
        agent_id=new_id("agent"),
        attempt=1,
        published_at=0,
    )
    clients = SimpleNamespace(streams=streams, agents=Broken())
    await take_up(task, cast("Clients", clients), 0)
    found: list[TurnReply] = []
    async with asyncio.timeout(5):
        async for entry in streams.read_reply(task.turn_id, wait_ms=100):
            found += [entry] if entry else []
            if isinstance(entry, Done):
                break
    error, done = found
    assert isinstance(error, TurnError)
    assert error.code == "internal_error"
    assert isinstance(done, Done)
    assert done.status == "failed"
