"""What goes wrong is said, and nothing hangs."""

import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.acceptance.listening import sounding_s
from tests.acceptance.model import Model
from tests.acceptance.talking import Talk, Talking, talk
from tests.acceptance.waves import float_48000, pcm24_stereo_44100, silence, u8_8000, white_noise
from tests.servers.system import System
from tests.servers.waiting import wait_for


def says_why(heard: Talk, *words: str) -> None:
    """Assert that a talk ended by itself, with a line of its own instead of a traceback."""
    assert heard.code not in {0, None}, heard
    assert "Traceback" not in heard.stdout + heard.stderr, heard
    said = (heard.stdout + heard.stderr).lower()
    assert any(word in said for word in words), heard


def test_an_unknown_agent_is_named_as_unknown(system: System, go_forward: Path) -> None:
    says_why(talk(system, "agent_" + "0" * 32, go_forward), "agent")


def test_something_that_is_no_agent_id_is_refused(system: System, go_forward: Path) -> None:
    says_why(talk(system, "../../etc/passwd", go_forward), "agent", "not found", "404")


def test_a_wrong_key_is_refused_and_not_repeated(
    system: System, agent: str, go_forward: Path
) -> None:
    arguments = ["--server", system.url, "--agent", agent, "--json", "--wav", str(go_forward)]
    heard = Talking(arguments, "wrong-key-0123456789abcdef").finish()
    says_why(heard, "key", "unauthorized", "401")
    assert "wrong-key-0123456789abcdef" not in heard.stdout + heard.stderr


def test_a_server_that_is_not_there_is_said_so(agent: str, go_forward: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["--server", server, "--agent", agent, "--json", "--wav", str(go_forward)]
        heard = Talking(arguments, "some-key-0123456789abcdef").finish(within=40)
    says_why(heard, "127.0.0.1")


def test_a_file_that_is_no_recording_is_said_so(system: System, agent: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("This is a shopping list: milk, eggs, bread.\n" * 50)
    says_why(talk(system, agent, text), "notes.wav")
    says_why(talk(system, agent, tmp_path / "missing.wav"), "missing.wav")


@pytest.mark.parametrize("make", [pcm24_stereo_44100, float_48000])
def test_a_recording_of_any_kind_is_understood(
    system: System, model: Model, go_forward: Path, tmp_path: Path, make: object
) -> None:
    model.says("Yes.")
    assert callable(make)
    wav = make(go_forward, tmp_path)

    heard = talk(system, system.agent(), wav)

    assert heard.code == 0, heard
    assert heard.turn["transcript"] == "go forward ten meters"


@pytest.mark.slow
def test_a_recording_from_an_old_telephone_gets_an_answer(
    system: System, model: Model, agent: str, go_forward: Path, tmp_path: Path
) -> None:
    model.says("Yes.")

    heard = talk(system, agent, u8_8000(go_forward, tmp_path))

    assert heard.code == 0, heard
    assert heard.turn["transcript"]


def test_utterances_without_speech_get_no_answer_and_do_not_hang(
    system: System, model: Model, agent: str, go_forward: Path, tmp_path: Path
) -> None:
    model.says("Yes.")

    heard = talk(system, agent, silence(tmp_path), white_noise(tmp_path), go_forward)

    assert heard.code == 1, heard
    assert "Traceback" not in heard.stderr, heard
    *nothing, something = heard.turns
    for turn in nothing:
        assert turn["reply_text"] == turn["transcript"] == ""
        assert turn["error"], heard
    assert something["reply_text"] == "Yes."
    assert something["error"] is None
    assert heard.seconds < 45


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("refuses_connections", "disconnected"),
        ("answers_500", "http_5xx"),
        ("stalls", "timeout_first_token"),
    ],
)
def test_a_model_that_fails_is_heard_and_reported(
    system: System,
    model: Model,
    agent: str,
    go_forward: Path,
    tmp_path: Path,
    *,
    trouble: str,
    code: str,
) -> None:
    with getattr(model, trouble)():
        heard = talk(system, agent, go_forward, out=tmp_path / "reply.wav")

    assert heard.turn["transcript"] == "go forward ten meters"
    assert heard.turn["error"], heard
    assert float(heard.turn["reply_audio_s"]) > 0.8, heard
    assert sounding_s(tmp_path / "reply.wav") > 0.5
    assert heard.turn["error"]["code"] == code, heard


@pytest.mark.slow
def test_the_next_turn_works_after_the_model_failed(
    system: System, model: Model, agent: str, go_forward: Path
) -> None:
    with model.answers_500():
        talk(system, agent, go_forward)
    model.says("Back again.")
    assert talk(system, agent, go_forward).turn["reply_text"] == "Back again."


def test_after_redis_was_killed_the_next_conversation_works(
    system: System, model: Model, agent: str, go_forward: Path
) -> None:
    killed = system.part("redis")
    assert killed is not None
    psutil.Process(killed).send_signal(signal.SIGKILL)
    wait_for("a new Redis", lambda: system.part("redis") not in {None, killed})
    wait_for("a ready system", system.is_ready, within=20)
    model.says("Still here.")

    heard = talk(system, agent, go_forward)

    assert heard.code == 0, heard
    assert heard.turn["reply_text"] == "Still here."
