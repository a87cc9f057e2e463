"""A reply that is made much faster than it is heard."""

import asyncio

import pytest

from schemas.turn import Cancel, ReplyAudio
from tests.fakes.stage import END, SPEECH, Stage
from tests.fakes.turns import FakeChat, pass_through_the_loop
from workers.turns import due_first


async def test_the_voice_does_not_get_too_far_ahead_and_the_model_writes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_first, "AHEAD_S", 3_600)
    stage = Stage(chat=FakeChat("First. ", "Second. ", "Third."))
    real_made = due_first.Playing.made
    monkeypatch.setattr(
        due_first.Playing, "made", lambda playing, packets: real_made(playing, 100_000 * packets)
    )
    async with stage.running():
        stage.say(SPEECH, END)
        await stage.reply.wait_for(ReplyAudio)
        await pass_through_the_loop()
        assert stage.tts.said == ["First."]
        assert stage.chat.stopped == 0
        stage.say(Cancel(reason="barge_in"))
    assert stage.done.status == "cancelled"
    assert stage.tts.said == ["First."]


async def test_a_voice_that_was_too_far_ahead_says_the_rest_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_first, "AHEAD_S", 0.1)
    stage = Stage(chat=FakeChat("This is first. ", "This is second. ", "Third."))
    began = asyncio.get_running_loop().time()
    stage.say(SPEECH, END)
    assert await stage.run() == "completed"
    assert stage.texts == ["This is first.", "This is second.", "Third."]
    assert asyncio.get_running_loop().time() - began >= 29 * due_first.PACKET_S - 0.1
