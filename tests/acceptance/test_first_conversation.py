"""Speech in at a device, the agent's spoken answer out, through every real part."""

from difflib import SequenceMatcher
from pathlib import Path

import pytest

from tests.acceptance.history import conversations
from tests.acceptance.listening import heard_words, seconds, sounding_s
from tests.acceptance.model import Model
from tests.acceptance.recordings import CARDS, HALF_UNDERSTOOD, SPHINX, UNDERSTOOD, as_wav
from tests.acceptance.talking import Talk, talk
from tests.servers.system import System

COUNTED = "Three two one zero."
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
FIELDS = {"transcript", "reply_text", "reply_audio_s", "timings_ms", "gate", "error"}


@pytest.fixture(scope="module")
def reply(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replies") / "reply.wav"


@pytest.fixture(scope="module")
def first(system: System, shared_model: Model, agent: str, go_forward: Path, reply: Path) -> Talk:
    """The conversation that several tests look at."""
    shared_model.reset()
    shared_model.says(COUNTED)
    heard = talk(system, agent, go_forward, out=reply)
    assert shared_model.last_user_message() == "go forward ten meters"
    return heard


def test_a_spoken_question_gets_a_spoken_answer(first: Talk) -> None:
    assert first.code == 0, first
    assert first.turn.keys() >= FIELDS
    assert first.turn["transcript"] == "go forward ten meters"
    assert first.turn["reply_text"] == COUNTED
    assert first.turn["error"] is None


def test_the_reply_is_speech_and_says_the_words(first: Talk, reply: Path) -> None:
    spoken = float(first.turn["reply_audio_s"])
    assert 0.8 < spoken < 4
    assert seconds(reply) == pytest.approx(spoken, abs=0.2)
    assert sounding_s(reply) > 0.6 * spoken
    assert counted_down(heard_words(reply, DIGITS))


def test_a_turn_says_where_its_time_went(first: Talk) -> None:
    timings = first.turn["timings_ms"]
    assert 500 <= timings["endpoint_ms"] < 2_000, first
    assert timings["endpoint_ms"] < timings["reply_first_packet_ms"] < timings["total_ms"], first
    for stage in ("queue_ms", "stt_ms", "llm_first_token_ms", "tts_first_audio_ms"):
        assert 0 <= timings[stage] < 5_000, first
    assert timings["attempts"] == 1
    assert first.turn["gate"]["opened"] == 1
    assert 50 < first.turn["gate"]["packets_sent"] < 200


def counted_down(heard: list[str]) -> bool:
    """Tell whether at least three of the four words were heard, in order."""
    said = COUNTED.lower().rstrip(".").split()
    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) >= len(said) - 1


@pytest.mark.slow
@pytest.mark.parametrize("recording", UNDERSTOOD, ids=lambda path: path.stem)
def test_what_people_said_is_understood_word_for_word(
    system: System, model: Model, agent: str, recording: Path, tmp_path: Path
) -> None:
    model.says("Yes.")

    heard = talk(system, agent, as_wav(recording, tmp_path))

    assert heard.code == 0, heard
    assert heard.turn["transcript"] == UNDERSTOOD[recording]


@pytest.mark.slow
@pytest.mark.parametrize("recording", HALF_UNDERSTOOD, ids=lambda path: path.stem)
def test_no_recording_of_a_person_is_lost(
    system: System, model: Model, agent: str, recording: Path, tmp_path: Path
) -> None:
    model.says("Yes.")

    heard = talk(system, agent, as_wav(recording, tmp_path))

    assert heard.code == 0, heard
    said = set(HALF_UNDERSTOOD[recording].split())
    assert len(said & set(heard.turn["transcript"].split())) >= len(said) / 2, heard


def test_several_recordings_are_several_turns_of_one_conversation(
    system: System, model: Model, agent: str, go_forward: Path, tmp_path: Path
) -> None:
    model.says("Ten it is.", "Where to?", "Goodbye.")
    fives = as_wav(CARDS / "004.wav", tmp_path)
    digits = as_wav(SPHINX / "tidigits" / "dhd.2934z.raw", tmp_path)
    before = conversations(system)

    heard = talk(system, agent, go_forward, fives, digits)

    assert heard.code == 0, heard
    assert [turn["reply_text"] for turn in heard.turns] == ["Ten it is.", "Where to?", "Goodbye."]
    said = [
        ("user", "go forward ten meters"),
        ("assistant", "Ten it is."),
        ("user", "five five"),
        ("assistant", "Where to?"),
        ("user", "two nine three four zero"),
    ]
    assert model.conversation() == [("system", "You are Ada."), *said]
    (history,) = [turns for key, turns in conversations(system).items() if key not in before]
    assert [(turn["user"], turn["agent"]) for turn in history] == [
        ("go forward ten meters", "Ten it is."),
        ("five five", "Where to?"),
        ("two nine three four zero", "Goodbye."),
    ]


def test_the_greeting_is_heard_and_remembered(
    system: System, model: Model, go_forward: Path, tmp_path: Path
) -> None:
    agent = system.agent(greeting=COUNTED)
    model.says("Yes.")
    reply = tmp_path / "reply.wav"

    heard = talk(system, agent, go_forward, out=reply)

    assert heard.code == 0, heard
    assert heard.turn["greeting"]["reply_text"] == COUNTED
    assert heard.turn["greeting"]["error"] is None
    assert heard.turn["reply_text"] == "Yes."
    assert counted_down(heard_words(reply, DIGITS))
    assert model.conversation() == [
        ("system", "You are Ada."),
        ("assistant", COUNTED),
        ("user", "go forward ten meters"),
    ]
