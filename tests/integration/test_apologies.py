"""The apologies of agents on a real Redis."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.apology import Apology, Wording, apology_key
from schemas.ids import new_id
from workers.storage.agents.apologies import FRESH_S, KEEP_S, Apologies

OURS = Wording(text="Tut mir leid.", voice="ruby")
APOLOGY = Apology(wording=OURS, packets=(b"\x78one", b"\x78two"))


async def test_an_apology_is_kept_for_a_week_and_replaced_whole(redis: Redis) -> None:
    apologies, agent_id = Apologies(redis), new_id("agent")
    assert await apologies.read(agent_id) is None
    await apologies.keep(agent_id, APOLOGY)
    assert await apologies.read(agent_id) == APOLOGY
    assert KEEP_S - 5 < await redis.ttl(apology_key(agent_id)) <= KEEP_S
    other = Apology(wording=OURS.model_copy(update={"voice": "ivy"}), packets=(b"\x78three",))
    await apologies.keep(agent_id, other)
    assert await apologies.read(agent_id) == other


async def test_it_is_fresh_for_a_day_while_the_wording_is_the_same(redis: Redis) -> None:
    apologies, agent_id = Apologies(redis), new_id("agent")
    assert not await apologies.is_fresh(agent_id, OURS)
    await apologies.keep(agent_id, APOLOGY)
    assert await apologies.is_fresh(agent_id, OURS)
    for change in ({"text": "Das ging schief."}, {"voice": "ivy"}):
        assert not await apologies.is_fresh(agent_id, OURS.model_copy(update=change))
    await redis.expire(apology_key(agent_id), KEEP_S - FRESH_S)
    assert not await apologies.is_fresh(agent_id, OURS)


async def test_what_is_no_apology_is_an_error_and_not_fresh(redis: Redis) -> None:
    apologies, agent_id = Apologies(redis), new_id("agent")
    await redis.hset(apology_key(agent_id), mapping={"body": "{}", "data": b"\x00"})
    with pytest.raises(ValueError, match="text"):
        await apologies.read(agent_id)
    assert not await apologies.is_fresh(agent_id, OURS)
    await apologies.keep(agent_id, APOLOGY)
    assert await apologies.read(agent_id) == APOLOGY
    await redis.set(apology_key(agent_id), "another kind of key")
    with pytest.raises(RedisError):
        await apologies.read(agent_id)
