"""Records of tool calls on the real Redis: what keeps two attempts from doing one thing twice."""

import asyncio

from redis.asyncio import Redis

from schemas.chat import Message, ToolCall, ToolRound
from workers.storage.sessions.conversation import Exchange, History
from workers.storage.turns.tool_records import EXPIRE_S, MAX_TURNS, ToolRecords
from workers.turns.session_conversation import SessionConversation


def calls(*names: str) -> ToolRound:
    return ToolRound("Let me look.", tuple(ToolCall(name, name, "{}") for name in names))


async def test_of_two_attempts_one_puts_the_round_on_record_and_one_makes_each_call(
    redis: Redis,
) -> None:
    records = ToolRecords(redis)
    attempts = [calls("a", "b"), calls("c")]
    held = await asyncio.gather(*(records.begin("s", "t", 0, each) for each in attempts))
    assert held[0] == held[1]
    assert held[0] in attempts
    claims = await asyncio.gather(*(records.claim("t", 0, 0) for _ in range(8)))
    assert sorted(claims) == [False] * 7 + [True]
    assert await records.claim("t", 0, 1)
    await records.keep("t", 0, 0, "Rain.")
    assert await records.result("t", 0, 0) == "Rain."
    assert await records.result("t", 1, 0) is None
    (found,) = await records.rounds("t")
    assert found.calls == held[0].calls
    assert found.results[0] == "Rain."
    assert 0 < await redis.ttl("turn:t:tools") <= EXPIRE_S


async def test_a_session_remembers_its_last_turns_and_forgets_them_all_with_its_conversation(
    redis: Redis,
) -> None:
    records = ToolRecords(redis)
    for number in range(MAX_TURNS + 3):
        await records.begin("s", f"t{number}", 0, calls("a"))
    await records.begin("s", "t5", 0, calls("a"))
    known = await records.of_session("s")
    assert len(known) == MAX_TURNS
    assert list(known)[-1] == "t5"
    assert "t0" not in known
    assert await records.rounds("t0") == ()
    await History(redis).forget("s")
    assert await records.of_session("s") == {}
    assert await records.rounds("t5") == ()


async def test_an_agent_without_tools_is_told_of_no_calls(redis: Redis) -> None:
    history, records = History(redis), ToolRecords(redis)
    await records.begin("s", "t", 0, calls("a"))
    await history.append("s", Exchange(turn_id="t", user="Hi", agent="Rain.", interrupted=False))
    plain = [Message("user", "Hi"), Message("assistant", "Rain.")]
    assert [*await SessionConversation(history, None, "s").read()] == plain
    assert len(await SessionConversation(history, records, "s").read()) == len(plain) + 2
