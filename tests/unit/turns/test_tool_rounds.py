"""Rounds of tools on the path of a turn, every port played by a fake."""

import asyncio

import pytest

from schemas.chat import Message, ToolCall
from schemas.turn import Asked, Cancel, Instruct, Pause, Resume, Spoken, TurnError
from tests.fakes.stage import END, SPEECH, Stage
from tests.fakes.tools import OFFER, CallingChat, FakeToolbox, calls
from tests.fakes.turns import FakeStt, until
from workers.errors import ModelError
from workers.turns.lines import FILLER
from workers.turns.ports import Pace
from workers.turns.tool_rounds import MAX_ROUNDS


async def test_the_model_calls_and_is_told_and_speaks_before_and_after() -> None:
    chat = CallingChat(calls("weather", text="Let me look."), "It rains.")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)

    assert await stage.run() == "completed"

    assert stage.texts == ["Let me look.", "It rains."]
    first, second = chat.requests
    assert first.tools == second.tools == (OFFER,)
    assert second.messages == (
        *first.messages,
        Message("assistant", "Let me look.", tool_calls=(ToolCall("c0", "weather", "{}"),)),
        Message("tool", "weather answers", tool_call_id="c0"),
    )


async def test_no_tool_is_called_before_the_endpoint_nor_for_a_guess_thrown_away() -> None:
    tools = FakeToolbox()
    chat = CallingChat(calls("weather"), calls("weather"), "It rains.")
    stage = Stage(chat=chat, tools=tools, stt=FakeStt("what is", "the weather"))
    async with stage.running():
        stage.say(SPEECH, Pause())
        await until(lambda: len(chat.requests) == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        stage.say(Resume(), SPEECH, Pause())
        await until(lambda: len(chat.requests) == 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert tools.begun == []
        assert tools.made == []
        stage.say(END)
    assert tools.made == [(0, 0, "weather")]
    assert stage.texts == ["It rains."]


async def test_calls_of_a_round_run_side_by_side() -> None:
    tools = FakeToolbox()
    tools.go.clear()
    stage = Stage(chat=CallingChat(calls("a", "b", "c"), "Done."), tools=tools)
    async with stage.running():
        stage.say(SPEECH, END)
        await until(lambda: len(tools.made) == 3)
        tools.go.set()
    assert stage.texts == ["Done."]


async def test_after_eight_rounds_the_model_is_asked_to_call_nothing() -> None:
    chat = CallingChat(*[calls("weather")] * MAX_ROUNDS, "Enough.")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert stage.texts == ["Enough."]
    assert all(request.tools == (OFFER,) for request in chat.requests)
    assert [request.may_call for request in chat.requests] == [True] * MAX_ROUNDS + [False]
    offered = [entry.tools for entry in stage.of(Asked) if isinstance(entry, Asked)]
    assert offered == [("weather",)] * MAX_ROUNDS + [()]


async def test_a_model_that_calls_nevertheless_is_asked_without_tools() -> None:
    chat = CallingChat(*[calls("weather")] * (MAX_ROUNDS + 1), "Enough.")
    tools = FakeToolbox()
    stage = Stage(chat=chat, tools=tools)
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert stage.texts == ["Enough."]
    assert [len(request.tools) for request in chat.requests] == [1] * (MAX_ROUNDS + 1) + [0]
    assert len(tools.made) == MAX_ROUNDS


@pytest.mark.parametrize(("code", "status"), [(400, "completed"), (401, "failed")])
async def test_an_endpoint_that_refuses_to_be_told_not_to_call_is_asked_without_tools(
    code: int, status: str
) -> None:
    refused = ModelError("http_4xx", "scripted", retryable=False, status_code=code)
    chat = CallingChat(*[calls("weather")] * MAX_ROUNDS, refused, "Enough.")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)
    assert await stage.run() == status
    assert ("Enough." in stage.texts) == (status == "completed")


async def test_ids_that_a_server_uses_again_are_made_different() -> None:
    chat = CallingChat(calls("a"), calls("b", "c"), "Done.")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)
    await stage.run()
    messages = chat.requests[-1].messages
    asked = [call.id for message in messages for call in message.tool_calls]
    assert len(set(asked)) == 3
    assert [m.tool_call_id for m in messages if m.role == "tool"] == asked


async def test_a_model_that_calls_without_end_fails_aloud() -> None:
    tools = FakeToolbox()
    stage = Stage(chat=CallingChat(calls("weather")), tools=tools)
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "too_many_rounds"
    assert len(tools.made) == MAX_ROUNDS
    assert len(stage.texts) == 1


async def test_an_interruption_cancels_the_tools_that_run() -> None:
    tools = FakeToolbox()
    tools.go.clear()
    stage = Stage(chat=CallingChat(calls("a", "b"), "Done."), tools=tools)
    async with stage.running():
        stage.say(SPEECH, END)
        await until(lambda: len(tools.made) == 2)
        stage.say(Cancel(reason="barge_in"))
    assert stage.done.status == "cancelled"
    assert tools.cancelled == 2
    assert len(stage.chat.requests) == 1


async def test_a_further_attempt_goes_on_behind_the_rounds_on_record() -> None:
    past = calls("weather", text="Let me look.")
    tools = FakeToolbox([past])
    chat = CallingChat("It rains.")
    heard = Spoken(text="Let me look.", packets=12, complete=True)
    stage = Stage(chat=chat, tools=tools, attempt=2, spoken=(heard,))
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert tools.begun == [past]
    assert len(chat.requests) == 1
    assert chat.requests[0].messages[-1] == Message("tool", "weather answers", tool_call_id="c0")
    assert stage.texts == ["It rains."]


async def test_a_filler_is_said_once_while_tools_are_slow() -> None:
    tools = FakeToolbox()
    tools.go.clear()
    chat = CallingChat(calls("weather"), calls("weather"), "It rains.")
    stage = Stage(chat=chat, tools=tools, pace=Pace(filler_s=0.01))
    async with stage.running():
        stage.say(SPEECH, END)
        await until(lambda: FILLER in stage.texts)
        tools.go.set()
    assert stage.texts == [FILLER, "It rains."]


async def test_a_model_that_spoke_before_its_calls_may_have_nothing_to_add() -> None:
    chat = CallingChat(calls("lights", text="I switch them on."), "")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert stage.texts == ["I switch them on."]
    assert [request.may_be_silent for request in chat.requests] == [False, True]


async def test_a_model_that_never_spoke_may_not_be_silent_after_its_calls() -> None:
    chat = CallingChat(calls("lights"), "Done.")
    stage = Stage(chat=chat, tools=FakeToolbox())
    stage.say(SPEECH, END)
    await stage.run()
    assert [request.may_be_silent for request in chat.requests] == [False, False]


async def test_a_reply_that_was_asked_for_may_call_tools() -> None:
    chat = CallingChat(calls("weather"), "It rains.")
    stage = Stage(chat=chat, tools=FakeToolbox(), is_asked_for=True)
    stage.say(Instruct(instructions="Say the weather."))
    assert await stage.run() == "completed"
    assert stage.texts == ["It rains."]


async def test_made_up_calls_of_an_agent_without_tools_are_answered() -> None:
    chat = CallingChat(calls("weather"), "I cannot know.")
    stage = Stage(chat=chat)
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert "there are no tools" in chat.requests[1].messages[-1].content
