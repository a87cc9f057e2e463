"""What is said in place of the model while it is late and when it fails."""

from schemas.agent import Lines
from schemas.turn import Pause, ReplyAudio, Spoken
from tests.fakes.stage import END, SPEECH, UNREACHED, Stage
from tests.fakes.turns import FakeChat, pass_through_the_loop, until
from workers.turns.ports import Pace


async def test_a_filler_is_said_once_while_the_first_words_are_late() -> None:
    stage = Stage(pace=Pace(filler_s=0))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.reply.wait_for(ReplyAudio)
        stage.chat.go.set()
    assert stage.texts == ["One moment, please.", "Hi.", "How are you?"]
    assert stage.done.status == "completed"


async def test_no_filler_is_said_before_the_user_is_done_nor_when_the_words_are_there() -> None:
    stage = Stage(pace=Pace(filler_s=0))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, Pause())
        await stage.chat.asked.wait()
        await pass_through_the_loop()
        stage.chat.go.set()
        await until(lambda: len(stage.tts.said) == 2)
        stage.say(END)
    assert stage.texts == ["Hi.", "How are you?"]


async def test_after_a_filler_a_failure_still_says_that_there_is_no_reply() -> None:
    stage = Stage(chat=FakeChat(error=UNREACHED), pace=Pace(filler_s=0))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.reply.wait_for(ReplyAudio)
        stage.chat.go.set()
    assert stage.texts[1:] == ["Sorry, I could not reach the language model."]


async def test_a_second_attempt_does_not_say_the_filler_again() -> None:
    heard = (Spoken(text="One moment, please.", packets=19, complete=True),)
    stage = Stage(pace=Pace(filler_s=0), attempt=2, spoken=heard)
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.chat.asked.wait()
        await pass_through_the_loop()
        stage.chat.go.set()
    assert stage.texts == ["Hi.", "How are you?"]


OWN_LINES = Lines(
    filler="Moment.", failed="Tut mir leid.", broken_off="Ende.", not_understood="Wie?"
)


async def test_an_agents_own_lines_are_said_in_place_of_ours() -> None:
    late = Stage(pace=Pace(filler_s=0), lines=OWN_LINES, chat=FakeChat(error=UNREACHED))
    late.chat.go.clear()
    async with late.running():
        late.say(SPEECH, END)
        await late.reply.wait_for(ReplyAudio)
        late.chat.go.set()
    broken = Stage(chat=FakeChat("First. ", "Sec", error=UNREACHED), lines=OWN_LINES)
    broken.say(SPEECH, END)
    await broken.run()
    deaf = Stage(lines=OWN_LINES)
    deaf.stt.broken = True
    deaf.say(SPEECH, END)
    await deaf.run()
    assert late.texts == ["Moment.", "Tut mir leid."]
    assert broken.texts == ["First.", "Ende."]
    assert deaf.texts == ["Wie?"]


async def test_an_agent_may_have_no_filler() -> None:
    stage = Stage(pace=Pace(filler_s=0), lines=Lines(filler=""))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.chat.asked.wait()
        await pass_through_the_loop()
        stage.chat.go.set()
    assert stage.texts == ["Hi.", "How are you?"]


HEARD = Spoken(text="First.", packets=40, complete=True)
ASIDES = (
    Spoken(text="Moment.", packets=40, complete=True, is_aside=True),
    Spoken(text="Sorry.", packets=40, complete=True, is_aside=True),
)


async def test_an_attempt_that_fails_after_an_earlier_ones_words_says_that_the_rest_is_lost() -> (
    None
):
    for chat in (FakeChat(error=UNREACHED), FakeChat(" "), FakeChat("First. ", error=UNREACHED)):
        stage = Stage(attempt=2, spoken=(HEARD,), chat=chat)
        stage.say(SPEECH, END)
        assert await stage.run() == "failed"
        assert stage.texts == ["Sorry, the rest of my answer was lost."]


async def test_an_attempt_that_fails_after_asides_alone_says_that_there_is_no_reply() -> None:
    stage = Stage(attempt=2, spoken=ASIDES, chat=FakeChat(error=UNREACHED), lines=OWN_LINES)
    stage.say(SPEECH, END)
    assert await stage.run() == "failed"
    assert stage.texts == ["Tut mir leid."]


async def test_an_attempt_that_understands_nothing_after_an_earlier_ones_words_does_not_ask() -> (
    None
):
    for spoken, line in (((HEARD,), "Ende."), (ASIDES, "Wie?")):
        stage = Stage(attempt=2, spoken=spoken, lines=OWN_LINES)
        stage.stt.broken = True
        stage.say(SPEECH, END)
        assert await stage.run() == "failed"
        assert stage.texts == [line]
