"""What a turn says and writes when an engine or the model fails."""

import pytest

from schemas.chat import Message, ToolRound
from schemas.turn import (
    Done,
    Pause,
    ReplyAudio,
    ReplyText,
    Resume,
    TurnError,
)
from tests.fakes.stage import END, SPEECH, UNREACHED, Stage
from tests.fakes.tools import CallingChat, FakeToolbox, calls
from tests.fakes.turns import (
    FakeChat,
    FakeConversation,
    FakeStt,
)
from workers.turns.lost import AttemptLostError


async def test_a_model_that_fails_is_told_of_and_apologised_for() -> None:
    stage = Stage(chat=FakeChat(error=UNREACHED))
    stage.say(SPEECH, Pause(), END)
    assert await stage.run() == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "disconnected"
    assert error.retryable
    assert stage.texts == ["Sorry, I could not reach the language model."]
    assert stage.of(ReplyAudio)


async def test_a_failure_after_the_first_sentence_ends_the_reply_with_a_short_line() -> None:
    stage = Stage(chat=FakeChat("First. ", "Second is cut", error=UNREACHED))
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    assert stage.texts == ["First.", "Sorry, the rest of my answer was lost."]


async def test_what_is_said_in_place_of_the_model_is_no_part_of_its_reply() -> None:
    not_understood = Stage()
    not_understood.stt.broken = True
    for stage, asides in (
        (Stage(chat=FakeChat("First. ", error=UNREACHED)), [False, True]),
        (Stage(chat=FakeChat(error=UNREACHED)), [True]),
        (not_understood, [True]),
    ):
        stage.say(SPEECH, END)
        assert await stage.run() == "failed"
        assert [entry.is_aside for entry in stage.of(ReplyText)] == asides


async def test_a_failed_guess_that_is_thrown_away_is_never_heard() -> None:
    stage = Stage(stt=FakeStt("one", "two"), chat=FakeChat(error=UNREACHED))
    async with stage.running():
        stage.say(SPEECH, Pause())
        await stage.chat.asked.wait()
        stage.chat.error, stage.chat.deltas = None, ("Fine.",)
        stage.say(Resume(), SPEECH, END)
    assert stage.done.status == "completed"
    assert not stage.of(TurnError)


async def test_a_reply_that_has_no_words_is_a_failure_and_is_heard_as_one() -> None:
    stage = Stage(chat=FakeChat("**", " 🙂 "))
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    assert stage.texts == ["Sorry, the language model did not give a usable answer."]


async def test_an_engine_that_does_not_understand_says_so() -> None:
    stage = Stage()
    stage.stt.broken = True
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "stt_failed"
    assert stage.texts == ["Sorry, I could not make out what you said."]


async def test_an_engine_that_cannot_speak_fails_the_turn() -> None:
    stage = Stage()
    stage.tts.broken = True
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "tts_failed"


async def test_anything_unforeseen_still_ends_the_turn_with_a_word() -> None:
    class Unreadable(FakeConversation):
        async def read(self) -> tuple[Message, ...]:
            raise LookupError

    stage = Stage(conversation=Unreadable())
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "internal_error"


async def test_an_attempt_that_is_lost_in_mid_reply_ends_without_a_word_about_it() -> None:
    """The gateway sends the turn again, to a worker that goes on from there."""

    class Unrecorded(FakeToolbox):
        async def begin(self, _number: int, _calls: ToolRound) -> ToolRound:
            await stage.reply.wait_for(ReplyAudio)
            raise AttemptLostError

    chat = CallingChat(calls("weather", text="Let me look that up."))
    stage = Stage(chat=chat, tools=Unrecorded())
    stage.say(SPEECH, END)
    with pytest.RaisesGroup(AttemptLostError):
        await stage.run()
    assert stage.texts == ["Let me look that up."]
    assert not stage.of(TurnError, Done)
