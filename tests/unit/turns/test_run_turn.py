"""The path of a turn from the first word to the last entry of the reply."""

import pytest

from edge.media.opus import OpusDecoder
from schemas.chat import Message
from schemas.turn import (
    Asked,
    Cancel,
    Done,
    Heartbeat,
    Measured,
    Pause,
    ReplyAudio,
    ReplyText,
    Resume,
    Spoken,
    Started,
    Transcript,
    UserAudio,
)
from tests.fakes.stage import END, SPEECH, Stage
from tests.fakes.turns import (
    FakeChat,
    FakeConversation,
    FakeStt,
    until,
)
from workers.turns.ports import Pace


async def test_an_utterance_becomes_a_spoken_reply_in_the_agreed_order() -> None:
    stage = Stage()
    stage.say(SPEECH, Pause(), END)

    assert await stage.run() == "completed"

    kinds = [type(entry) for entry in stage.reply.entries]
    assert kinds[0] is Started
    assert kinds[1] is Transcript
    assert kinds[2:5] == [Asked, Measured, ReplyText]
    assert kinds[-1] is Done
    assert stage.of(Transcript) == [Transcript(attempt=1, text="hello", final=True)]
    assert stage.texts == ["Hi.", "How are you?"]
    assert stage.done.metrics.queue_ms == 1.0
    assert stage.done.metrics.endpoint_to_audio_ms is not None
    assert stage.chat.stopped == 0


async def test_the_audio_of_each_sentence_is_whole_numbered_and_decodes() -> None:
    stage = Stage()
    stage.say(SPEECH, END)
    await stage.run()

    decoder = OpusDecoder()
    for number, text in enumerate(stage.texts):
        entries = [e for e in stage.of(ReplyAudio) if e.sentence == number]
        position = 0
        for entry in entries:
            assert isinstance(entry, ReplyAudio)
            assert entry.first == position
            assert len(entry.packets) <= 25
            position += len(entry.packets)
            for packet in entry.packets:
                assert decoder.decode(packet).size
        assert [e.last for e in entries] == [False] * (len(entries) - 1) + [True]
        assert position == len(text)


async def test_nothing_is_heard_before_the_endpoint() -> None:
    stage = Stage()
    async with stage.running():
        stage.say(SPEECH, Pause())
        await stage.chat.asked.wait()
        await until(lambda: len(stage.tts.said) == 2)
        assert not stage.of(ReplyText, ReplyAudio, Done)
        assert not [e for e in stage.of(Transcript) if e.final]
        stage.say(END)
    assert stage.done.status == "completed"


async def test_going_on_throws_the_guess_away_and_joins_the_segments() -> None:
    stage = Stage(stt=FakeStt("what time", "is it"))
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, Pause())
        await stage.chat.asked.wait()
        stage.say(Resume())
        await until(lambda: stage.chat.stopped == 1)
        stage.chat.go.set()
        stage.say(SPEECH, Pause(), END)
    assert [request.messages[-1].content for request in stage.chat.requests] == [
        "what time",
        "what time is it",
    ]
    assert stage.of(Transcript) == [Transcript(attempt=1, text="what time is it", final=True)]
    assert stage.texts == ["Hi.", "How are you?"]


async def test_a_replayed_utterance_asks_the_model_once() -> None:
    stage = Stage(stt=FakeStt("one", "two", "three"))
    stage.say(SPEECH, Pause(), Resume(), SPEECH, Pause(), Resume(), SPEECH, Pause(), END)
    await stage.run()
    assert stage.chat.requests[-1].messages[-1].content == "one two three"
    assert stage.texts == ["Hi.", "How are you?"]


async def test_a_segment_that_is_still_being_understood_survives_the_guess() -> None:
    stage = Stage(stt=FakeStt("what time", "is it"))
    stage.stt.ready.clear()
    async with stage.running():
        stage.say(SPEECH, Pause(), Resume(), SPEECH, END)
        await until(lambda: not stage.stt.segments)
        stage.stt.ready.set()
    assert stage.of(Transcript) == [Transcript(attempt=1, text="what time is it", final=True)]


async def test_audio_that_arrives_after_the_pause_belongs_to_what_follows() -> None:
    stage = Stage(stt=FakeStt("what time", "is it"))
    stage.say(SPEECH, Pause(), SPEECH, Resume(), END)
    await stage.run()
    assert stage.of(Transcript) == [Transcript(attempt=1, text="what time is it", final=True)]


async def test_nothing_understood_is_ignored_without_asking_the_model() -> None:
    stage = Stage(stt=FakeStt(""))
    stage.say(SPEECH, Pause(), END)
    assert await stage.run() == "ignored"
    assert not stage.chat.requests
    assert [type(e) for e in stage.reply.entries] == [Started, Done]


async def test_an_utterance_without_audio_is_ignored() -> None:
    stage = Stage()
    stage.say(END)
    assert await stage.run() == "ignored"


@pytest.mark.parametrize("packet", [b"", b"\xff" * 40, b"\x00", b"x" * 1_275, bytes(3)])
async def test_garbage_packets_do_not_stop_the_turn(packet: bytes) -> None:
    stage = Stage()
    stage.say(UserAudio(packets=(packet, packet)), SPEECH, UserAudio(packets=(packet,)), END)
    assert await stage.run() == "completed"


async def test_speech_beyond_the_bound_is_not_listened_to() -> None:
    stage = Stage(pace=Pace(max_utterance_s=0.5))
    stage.say(*[SPEECH] * 20, END)
    await stage.run()
    assert 6_000 < stage.stt.samples <= 8_000


@pytest.mark.parametrize("when", ["listening", "thinking", "speaking"])
async def test_a_cancel_stops_the_turn_up_to_the_model(when: str) -> None:
    stage = Stage()
    stage.chat.go.clear()
    async with stage.running():
        stage.say(SPEECH, Pause())
        await stage.chat.asked.wait()
        if when != "listening":
            stage.say(END)
            await stage.reply.wait_for(Transcript)
        if when == "speaking":
            stage.chat.deltas = ("One. ", *["And on. "] * 100_000)
            stage.chat.go.set()
            await stage.reply.wait_for(ReplyAudio)
        stage.say(Cancel(reason="barge_in"))
    assert stage.done.status == "cancelled"
    assert stage.chat.stopped == 1


async def test_a_gateway_that_is_gone_ends_the_turn() -> None:
    stage = Stage(pace=Pace(gateway_gone_s=0.0))
    stage.say(SPEECH)
    stage.utterance.write(None)
    assert await stage.run() == "cancelled"


async def test_the_model_is_asked_with_the_prompt_the_history_and_the_words_alone() -> None:
    before = (Message("assistant", "Hello."), Message("user", "Hi."), Message("assistant", "Yes?"))
    stage = Stage(conversation=FakeConversation(*before))
    stage.say(SPEECH, END)
    await stage.run()
    (request,) = stage.chat.requests
    assert request.messages == (
        Message("system", "Be brief."),
        *before,
        Message("user", "hello"),
    )
    assert (request.session_id, request.turn_id, request.attempt) == ("session", "turn", 1)


async def test_a_greeting_is_spoken_as_it_is_written() -> None:
    stage = Stage(greeting="Hello. I am listening.")
    assert await stage.run() == "completed"
    assert stage.texts == ["Hello.", "I am listening."]
    assert not stage.chat.requests
    assert not stage.of(Transcript)


async def test_a_greeting_can_be_interrupted() -> None:
    stage = Stage(greeting="Hello.")
    stage.say(Cancel(reason="barge_in"))
    assert await stage.run() in ("cancelled", "completed")


async def test_a_second_attempt_goes_on_where_the_first_was_cut() -> None:
    spoken = (
        Spoken(text="Hi.", packets=3, complete=True),
        Spoken(text="How are you?", packets=5, complete=False),
    )
    stage = Stage(chat=FakeChat("Hi. How are you? Tell me."), attempt=2, spoken=spoken)
    stage.say(SPEECH, Pause(), END)
    await stage.run()
    assert stage.texts == ["How are you?", "Tell me."]
    audio = [e for e in stage.of(ReplyAudio) if e.sentence == 1]
    first_new = next(e for e in audio if e.packets)
    assert first_new.first == 5
    assert sum(len(e.packets) for e in audio) == len("How are you?") - 5
    assert {e.attempt for e in stage.reply.entries} == {2}
    assert [e.sentence for e in stage.of(ReplyText)] == [1, 2]


async def test_a_worker_on_a_turn_shows_that_it_is_alive_and_what_it_understands() -> None:
    stage = Stage(stt=FakeStt("hello", partial="hell"), pace=Pace(0.001, 0.001))
    async with stage.running():
        stage.say(SPEECH)
        await stage.reply.wait_for(Heartbeat)
        shown = await stage.reply.wait_for(Transcript)
        assert shown == Transcript(attempt=1, text="hell", final=False)
        stage.say(END)
    assert isinstance(stage.reply.entries[-1], Done)
