"""Which apology a session holds ready: its agent's own, an older one, or the gateway's."""

import asyncio
from datetime import UTC, datetime

import pytest
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from schemas.agent import Agent, Input, Lines, Output, Voice
from schemas.apology import BUILT_IN, Apology, Wording, from_fields
from schemas.ids import new_id
from workers.gateway.session import own_apology
from workers.gateway.session.agent_in_force import AgentInForce
from workers.gateway.session.apology import built_in
from workers.gateway.session.own_apology import OwnApology

NOW = datetime.now(UTC)
PLAIN = Agent(
    id=new_id("agent"),
    name="Test",
    system_prompt="Be brief.",
    greeting=None,
    voice=Voice(voice_id="ivy"),
    input=Input(),
    output=Output(),
    llm=(),
    created_at=NOW,
    updated_at=NOW,
)


def agent_of(line: str | None, voice: str = "ivy") -> Agent:
    fields = {"lines": Lines(failed=line), "voice": Voice(voice_id=voice)}
    return PLAIN.model_copy(update=fields)


def spoken(text: str, voice: str = "ivy") -> Apology:
    return Apology(wording=Wording(text=text, voice=voice), packets=(text.encode(),))


class Kept:
    """Holds one apology, or fails."""

    def __init__(self, held: Apology | None = None, error: Exception | None = None) -> None:
        self.held = held
        self.error = error
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self, agent_id: str) -> Apology | None:
        assert agent_id == PLAIN.id
        self.reads += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return self.held


class Agents:
    """Finds the agent as it is now."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def get(self, _agent_id: str, account: str | None = None) -> Agent | None:
        assert account == "default"
        return self.agent


class Held:
    """An apology of a session, the agent in force and what is kept."""

    def __init__(self, agent: Agent, kept: Kept) -> None:
        self.agents = Agents(agent)
        self.agent = AgentInForce(agent, "default", self.agents, lambda: None)
        self.kept = kept
        self.apology = OwnApology(self.agent, kept)

    async def look(self) -> Apology:
        self.apology.look()
        await _settled()
        return self.apology.current

    async def change(self, agent: Agent) -> Apology:
        self.agents.agent = agent
        self.agent.look_again()
        await _settled()
        return self.apology.current


async def _settled() -> None:
    names = ("look up", "read the apology")
    await asyncio.gather(*[t for t in asyncio.all_tasks() if t.get_name().startswith(names)])


async def test_the_agents_own_line_is_said_once_it_is_read_and_not_read_again() -> None:
    own = spoken("Tut mir leid.", "ruby")
    held = Held(agent_of("Tut mir leid.", "ruby"), Kept(own))
    assert held.apology.current == built_in()
    assert await held.look() == own
    assert await held.look() == own
    assert held.kept.reads == 1


async def test_what_is_not_there_yet_is_looked_for_again() -> None:
    held = Held(agent_of("Tut mir leid."), Kept())
    assert await held.look() == built_in()
    held.kept.held = spoken("Tut mir leid.")
    assert await held.look() == held.kept.held
    assert held.kept.reads == 2


async def test_an_older_line_of_the_agent_is_said_until_the_new_one_is_there() -> None:
    old, new = spoken("Tut mir leid."), spoken("Das ging schief.")
    held = Held(agent_of("Tut mir leid."), Kept(old))
    await held.look()
    assert await held.change(agent_of("Das ging schief.")) == old
    assert await held.look() == old
    held.kept.held = None  # Redis forgot it
    assert await held.look() == old
    held.kept.held = new
    assert await held.look() == new


async def test_another_voice_is_read_anew() -> None:
    held = Held(agent_of("Tut mir leid."), Kept(spoken("Tut mir leid.")))
    await held.look()
    await held.change(agent_of("Tut mir leid.", "ruby"))
    held.kept.held = spoken("Tut mir leid.", "ruby")
    assert await held.look() == held.kept.held


async def test_an_agent_that_gives_its_line_up_says_the_built_in_one() -> None:
    held = Held(agent_of("Tut mir leid."), Kept(spoken("Tut mir leid.")))
    await held.look()
    assert await held.change(PLAIN) == built_in()


async def test_a_plain_agent_says_its_line_as_the_voice_in_use_speaks_it() -> None:
    rendered = Apology(wording=BUILT_IN, packets=(b"another engine",))
    held = Held(PLAIN, Kept(rendered))
    assert await held.look() == rendered


def malformed() -> ValueError:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its words are pydantic's
        from_fields({b"body": b"{}", b"data": b"\x00"})
    return caught.value


@pytest.mark.parametrize("error", [malformed(), RedisConnectionError("gone"), TimeoutError()])
async def test_what_cannot_be_read_is_a_line_of_the_log_and_changes_nothing(
    error: Exception,
) -> None:
    old = spoken("Tut mir leid.")
    held = Held(agent_of("Tut mir leid."), Kept(old))
    await held.look()
    await held.change(agent_of("Das ging schief."))
    held.kept.error = error
    with structlog.testing.capture_logs() as lines:
        assert await held.look() == old
    assert [line["error"] for line in lines] == [type(error).__name__]


async def test_a_redis_that_hangs_is_given_up_and_asked_after_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_apology, "READ_S", 0.01)
    held = Held(agent_of("Tut mir leid."), Kept(spoken("Tut mir leid.")))
    held.kept.may_answer.clear()
    assert await held.look() == built_in()
    held.kept.may_answer.set()
    assert await held.look() == held.kept.held


async def test_nothing_is_read_after_the_end() -> None:
    held = Held(agent_of("Tut mir leid."), Kept(spoken("Tut mir leid.")))
    held.kept.may_answer.clear()
    held.apology.look()
    await asyncio.sleep(0)
    await held.apology.close()
    assert await held.look() == built_in()
    assert held.kept.reads == 1
