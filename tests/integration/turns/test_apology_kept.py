"""A worker process keeps what the gateway says for an agent, after a turn of that agent."""

import asyncio

import pytest
from redis.asyncio import Redis

from edge.media.opus import OpusDecoder
from schemas.agent import Lines
from schemas.apology import Apology, Wording
from schemas.audio import REPLY_RATE
from tests.integration.turns.conftest import Gateway, store_agent
from workers.settings import Settings
from workers.storage.agents.apologies import Apologies
from workers.storage.redis_client import connect

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("worker", "fresh_model"),
]
LINE = "I cannot answer now. Please call the front desk, number four."


async def _greeted(gateway: Gateway, agent_id: str) -> None:
    turn = gateway.new_turn()
    turn.agent_id = agent_id
    await turn.publish(kind="greeting")
    assert (await turn.hear_out()).done.status == "completed"


async def _kept(redis: Redis, agent_id: str) -> Apology:
    apologies = Apologies(redis)
    async with asyncio.timeout(10):
        while (apology := await apologies.read(agent_id)) is None:  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.01)
    return apology


async def test_after_a_turn_the_agents_line_is_there_in_its_voice(
    gateway: Gateway, worker_settings: Settings
) -> None:
    agent = await asyncio.to_thread(
        store_agent, worker_settings, voice="oliver", lines=Lines(failed=LINE)
    )
    redis = connect(worker_settings)
    # First a plain agent's: what is made for it would be there before the other's.
    await _greeted(gateway, gateway.agent.id)
    await _greeted(gateway, agent.id)
    apology = await _kept(redis, agent.id)
    assert apology.wording == Wording(text=LINE, voice="oliver")
    heard = OpusDecoder(REPLY_RATE).decode_all(list(apology.packets))
    assert 2 < heard.size / REPLY_RATE < 8
    assert abs(heard).max() > 3_000
    assert await Apologies(redis).read(gateway.agent.id) is None
    await redis.aclose()
