import asyncio
from datetime import UTC, datetime

import pytest

from schemas.agent import Agent, Input, Output, Voice
from schemas.ids import new_id
from workers.gateway.session import agent_in_force
from workers.gateway.session.agent_in_force import AgentInForce

NOW = datetime.now(UTC)
AGENT = Agent(
    id=new_id("agent"),
    name="First",
    system_prompt="Be brief.",
    greeting=None,
    voice=Voice(voice_id="ivy"),
    input=Input(),
    output=Output(),
    llm=(),
    created_at=NOW,
    updated_at=NOW,
)


class SlowAgents:
    """Answers with the agent as it was when it was asked, once it may."""

    def __init__(self) -> None:
        self.names = ["Second", "Third", "Fourth"]
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def get(self, agent_id: str, account: str | None = None) -> Agent | None:
        assert (agent_id, account) == (AGENT.id, "default")
        name = self.names[self.asked]
        self.asked += 1
        await self.may_answer.wait()
        return AGENT.model_copy(update={"name": name})


async def _settled() -> None:
    looking = [task for task in asyncio.all_tasks() if task.get_name().startswith("look up")]
    await asyncio.gather(*looking)


async def test_the_agent_counts_as_it_was_until_it_is_found() -> None:
    agents = SlowAgents()
    told: list[str] = []
    agent = AgentInForce(AGENT, "default", agents, lambda: told.append(agent.record.name))
    agent.look_again()
    await asyncio.sleep(0)
    assert agent.record.name == "First"
    agents.may_answer.set()
    await _settled()
    assert (agent.record.name, agents.asked, told) == ("Second", 1, ["Second"])


async def test_an_agent_that_is_as_it_was_is_not_told_as_changed() -> None:
    agents = SlowAgents()
    agents.names, told = ["First"], []
    agents.may_answer.set()
    agent = AgentInForce(AGENT, "default", agents, lambda: told.append("changed"))
    agent.look_again()
    await _settled()
    assert (agents.asked, told) == (1, [])


async def test_turns_that_begin_during_a_look_up_share_the_next_one() -> None:
    agents = SlowAgents()
    agent = AgentInForce(AGENT, "default", agents, lambda: None)
    agent.look_again()
    await asyncio.sleep(0)
    agent.look_again()
    agent.look_again()
    agents.may_answer.set()
    await _settled()
    assert (agent.record.name, agents.asked) == ("Third", 2)


async def test_a_look_up_that_takes_too_long_is_given_up_and_the_next_turn_asks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_in_force, "LOOK_UP_S", 0.01)
    agents = SlowAgents()
    agent = AgentInForce(AGENT, "default", agents, lambda: None)
    agent.look_again()
    await _settled()
    assert agent.record.name == "First"
    agents.may_answer.set()
    agent.look_again()
    await _settled()
    assert agent.record.name == "Third"


async def test_nothing_is_looked_up_after_the_end() -> None:
    agents = SlowAgents()
    agent = AgentInForce(AGENT, "default", agents, lambda: None)
    agent.look_again()
    await asyncio.sleep(0)
    await agent.close()
    agent.look_again()
    await asyncio.sleep(0)
    assert agents.asked == 1
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("look up")]
