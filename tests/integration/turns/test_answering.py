"""A worker process answers what people said, through real Opus, Redis, Celery and engines."""

import asyncio
import time

import numpy as np
import pytest

from schemas.turn import (
    Asked,
    Cancel,
    Done,
    End,
    Heartbeat,
    Instruct,
    Measured,
    Pause,
    ReplyAudio,
    ReplyText,
    Resume,
    Started,
    Transcript,
    TurnError,
    UserAudio,
)
from tests.integration.turns.conftest import Gateway, opus, recording
from tests.servers.model_server import ModelServer
from workers.storage.sessions.conversation import Added, Exchange

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("worker", "fresh_model"),
]

UNDERSTOOD = {
    "goforward.raw": "go forward ten meters",
    "tidigits/dhd.2934z.raw": "two nine three four zero",
    "cards/001.wav": "ten of clubs",
    "cards/003.wav": "seven of clubs",
    "cards/004.wav": "five five",
}


@pytest.mark.parametrize(("name", "words"), UNDERSTOOD.items())
async def test_what_a_person_said_is_answered(gateway: Gateway, name: str, words: str) -> None:
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording(name)))
    await turn.finish()
    heard = await turn.hear_out()

    assert heard.transcript == words
    assert heard.text == f"You said: {words}."
    assert heard.done.status == "completed"
    assert 1.0 < heard.audio.size / 16_000 < 5.0
    assert np.abs(heard.audio).max() > 3_000
    kinds = [type(e) for _, e in heard.entries if not isinstance(e, Heartbeat | Transcript)]
    assert kinds[:5] == [Started, Asked, Measured, ReplyText, ReplyAudio]
    metrics = heard.done.metrics
    assert metrics.endpoint_to_audio_ms is not None
    assert metrics.model == "echo"


async def test_what_is_understood_shows_while_the_user_still_speaks(gateway: Gateway) -> None:
    turn = gateway.new_turn()
    await turn.publish()
    packets = opus(recording("goforward.raw"))
    half = len(packets) // 2 // 2 * 2
    await turn.speak(packets[:half])
    await turn.listen(lambda entry: isinstance(entry, Transcript) and "forward" in entry.text)
    await turn.speak(packets[half:])
    heard = await turn.listen(lambda entry: isinstance(entry, Transcript) and "ten" in entry.text)
    shown = [e for e in heard.of(Transcript) if isinstance(e, Transcript)]
    assert all(not entry.final for entry in shown)
    assert len({entry.text for entry in shown}) == len(shown) > 1
    assert len(heard.of(Heartbeat)) >= 3
    await turn.finish(silence_s=0)
    assert (await turn.hear_out()).transcript == "go forward ten meters"


async def test_the_model_is_asked_with_the_history_and_the_ids(
    gateway: Gateway, model: ModelServer
) -> None:
    turn = gateway.new_turn()
    before = [("", "Hello.", False), ("one", "two", False), ("three", "fo", True)]
    for number, (user, agent, interrupted) in enumerate(before):
        exchange = Exchange(turn_id=str(number), user=user, agent=agent, interrupted=interrupted)
        await gateway.history.append(turn.session_id, exchange)
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.finish(silence_s=0)
    await turn.hear_out()

    (request,) = model.requests
    assert [(m["role"], m["content"]) for m in request.body["messages"]] == [
        ("system", "Be brief."),
        ("assistant", "Hello."),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "fo"),
        ("user", "seven of clubs"),
    ]
    assert request.headers["x-edgewise-turn-id"] == turn.turn_id
    assert request.headers["x-edgewise-session-id"] == turn.session_id
    assert request.headers["x-edgewise-attempt"] == "1"
    assert request.headers["authorization"] == "Bearer sk-very-secret"


async def test_a_reply_that_the_client_asked_for_knows_what_it_added(
    gateway: Gateway, model: ModelServer
) -> None:
    turn = gateway.new_turn()
    await gateway.history.append(turn.session_id, Added(role="user", content="I look at page 3."))
    await turn.publish(kind="reply")
    await turn.write(Instruct(instructions="Say what is on it."))
    heard = await turn.hear_out()

    (request,) = model.requests
    sent = [
        {"role": "system", "content": "Be brief.\n\nSay what is on it."},
        {"role": "user", "content": "I look at page 3."},
    ]
    assert request.body["messages"] == sent
    assert [list(e.messages) for e in heard.of(Asked) if isinstance(e, Asked)] == [sent]
    assert (heard.text, heard.transcript) == ("You said: I look at page 3..", "")
    assert heard.done.status == "completed"


async def test_speaking_on_after_a_pause_throws_the_guess_away(
    gateway: Gateway, model: ModelServer
) -> None:
    model.script = "stall@2"
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.write(Pause())
    guess = await model.wait_for_request()
    assert guess.said == "seven of clubs"

    model.script = None
    resumed_at = time.monotonic()
    await turn.write(Resume())
    async with asyncio.timeout(5):
        await guess.closed.wait()
    assert guess.closed_at is not None
    assert guess.closed_at - resumed_at < 1  # the model's stall would be given 8 s
    await turn.speak(opus(recording("cards/004.wav")), pace=0)
    await turn.finish(silence_s=0.2)
    heard = await turn.hear_out()
    assert heard.transcript == "seven of clubs five five"
    assert heard.text == "You said: seven of clubs five five."
    assert len(model.requests) == 2


async def test_a_cancel_closes_the_models_stream_at_once(
    gateway: Gateway, model: ModelServer
) -> None:
    model.script, model.token_s = "story", 0.02
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.finish(silence_s=0)
    await turn.listen(lambda entry: isinstance(entry, ReplyAudio))
    cancelled_at = time.monotonic()
    await turn.write(Cancel(reason="barge_in"))
    (request,) = model.requests
    async with asyncio.timeout(5):
        await request.closed.wait()
    assert request.closed_at is not None
    assert request.closed_at - cancelled_at < 1  # the story goes on for longer
    heard = await turn.hear_out()
    assert heard.done.status == "cancelled"


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ("500", "http_5xx", "Sorry, I could not reach the language model."),
        ("401", "http_4xx", "Sorry, the language model refused my request."),
        ("stall", "timeout_first_token", "Sorry, the language model takes too long."),
        ("html", "bad_content_type", "Sorry, the language model did not give a usable answer."),
        ("close@2", "incomplete", "Sorry, the rest of my answer was lost."),
    ],
)
async def test_a_model_that_fails_is_heard_and_seen(
    gateway: Gateway, model: ModelServer, script: str, code: str, line: str
) -> None:
    model.script, model.say = script, "Hello. More is to come"
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(recording("cards/003.wav")), pace=0)
    await turn.finish(silence_s=0)
    heard = await turn.hear_out()
    (error,) = heard.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == code
    assert "sk-secret" not in error.message
    assert heard.text.endswith(line)
    assert heard.done.status == "failed"
    assert heard.audio.size > 16_000


@pytest.mark.parametrize("level", [0, 20, 300])
async def test_silence_and_noise_get_no_reply(gateway: Gateway, level: int) -> None:
    noise = np.random.default_rng(7).normal(0, level, 16_000 * 2).astype(np.int16)
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(opus(noise), pace=0)
    await turn.finish(silence_s=0)
    assert (await turn.hear_out()).done.status == "ignored"


async def test_no_audio_at_all_gets_no_reply(gateway: Gateway, model: ModelServer) -> None:
    turn = gateway.new_turn()
    await turn.publish()
    await turn.write(End(silence_ms=600))
    assert (await turn.hear_out()).done.status == "ignored"
    assert not model.requests


async def test_garbage_in_the_audio_does_not_stop_the_turn(gateway: Gateway) -> None:
    packets = opus(recording("cards/003.wav"))
    garbage = np.random.default_rng(7)
    for position in range(0, len(packets), 10):
        await asyncio.sleep(0)
        packets.insert(position, garbage.bytes(int(garbage.integers(0, 200))))
    turn = gateway.new_turn()
    await turn.publish()
    await turn.speak(packets, pace=0)
    await turn.write(UserAudio(packets=(b"",)))
    await turn.finish(silence_s=0)
    heard = await turn.hear_out()
    assert heard.done.status in ("completed", "ignored")


async def test_the_greeting_is_spoken(gateway: Gateway, model: ModelServer) -> None:
    turn = gateway.new_turn()
    await turn.publish(kind="greeting")
    heard = await turn.hear_out()
    assert heard.text == "Hello. I am listening."
    assert heard.done.status == "completed"
    assert not model.requests


async def test_an_unknown_agent_ends_the_turn_with_a_code(gateway: Gateway) -> None:
    turn = gateway.new_turn()
    turn.agent_id = "agent_" + "0" * 32
    await turn.publish()
    heard = await turn.hear_out()
    (error,) = heard.of(TurnError)
    assert isinstance(error, TurnError)
    assert error.code == "agent_not_found"
    assert heard.done.status == "failed"


async def test_a_malformed_message_does_no_harm(gateway: Gateway) -> None:
    await asyncio.to_thread(
        gateway.celery.send_task, "turns.run", kwargs={"message": {"no": "turn"}}, queue="turns"
    )
    turn = gateway.new_turn()
    await turn.publish(kind="greeting")
    assert (await turn.listen(lambda entry: isinstance(entry, Done))).done.status == "completed"
