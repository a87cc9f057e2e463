"""The agent speaks without having been spoken to; and each request is put on record."""

import asyncio

from schemas.chat import Message
from schemas.turn import Asked, Cancel, Instruct, ReplyAudio, Transcript
from tests.fakes.stage import END, SPEECH, UNREACHED, Stage
from tests.fakes.turns import FakeChat, FakeConversation
from workers.turns.ports import Pace
from workers.turns.prompt import PromptRule


async def test_a_reply_that_is_asked_for_is_spoken_under_its_instructions() -> None:
    before = (Message("user", "Set a timer."), Message("assistant", "Done."))
    stage = Stage(is_asked_for=True, conversation=FakeConversation(*before))
    stage.say(Instruct(instructions="Say that the timer is up."))
    assert await stage.run() == "completed"
    (request,) = stage.chat.requests
    assert request.messages == (
        Message("system", "Be brief.\n\nSay that the timer is up."),
        *before,
    )
    assert stage.texts == ["Hi.", "How are you?"]
    assert not stage.of(Transcript)


async def test_without_instructions_the_prompt_is_the_agents_own() -> None:
    stage = Stage(is_asked_for=True)
    stage.say(Instruct())
    assert await stage.run() == "completed"
    (request,) = stage.chat.requests
    assert request.messages == (Message("system", "Be brief."),)


async def test_a_reply_that_is_called_off_before_it_began_asks_no_model() -> None:
    stage = Stage(is_asked_for=True)
    stage.say(Cancel(reason="barge_in"))
    assert await stage.run() == "cancelled"
    assert not stage.chat.requests


async def test_a_gateway_that_never_says_what_for_is_gone() -> None:
    stage = Stage(is_asked_for=True, pace=Pace(gateway_gone_s=0.0))
    stage.utterance.write(None)
    assert await stage.run() == "cancelled"


async def test_a_failure_of_the_model_is_heard_there_too() -> None:
    stage = Stage(is_asked_for=True, chat=FakeChat(error=UNREACHED))
    stage.say(Instruct())
    assert await stage.run() == "failed"
    assert stage.texts == ["Sorry, I could not reach the language model."]


async def test_a_late_model_is_covered_there_too_after_the_operators_time() -> None:
    stage = Stage(is_asked_for=True, pace=Pace(filler_s=0))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(Instruct())
        async with asyncio.timeout(Pace.filler_s - 0.5):
            await stage.reply.wait_for(ReplyAudio)
        stage.chat.go.set()
    assert stage.texts == ["One moment, please.", "Hi.", "How are you?"]


async def test_what_the_model_was_asked_goes_ahead_of_its_answer_with_the_operators_text() -> None:
    stage = Stage(prompt_rule=PromptRule(suffix="Never give advice on law."))
    stage.say(SPEECH, END)
    await stage.run()
    (asked,) = stage.of(Asked)
    assert isinstance(asked, Asked)
    assert asked.prompt_suffix == "Never give advice on law."
    assert asked.model == "fake"
    assert asked.messages == (
        {"role": "system", "content": "Be brief.\n\nNever give advice on law."},
        {"role": "user", "content": "hello"},
    )
    assert [message.content for message in stage.chat.requests[0].messages] == [
        message["content"] for message in asked.messages
    ]
