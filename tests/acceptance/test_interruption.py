"""The user speaks over the reply: silence at once, and history holds only what was heard."""

from pathlib import Path

from tests.acceptance.history import conversations
from tests.acceptance.model import Model
from tests.acceptance.recordings import SPHINX, as_wav
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import System
from tests.servers.waiting import wait_for

DIGITS = SPHINX / "tidigits" / "dhd.2934z.raw"
STORY = [
    "Once upon a time there was a king.",
    "He lived in a castle on a hill.",
    "The castle had seven towers.",
    "In each tower there was a clock.",
    "Every clock showed another hour.",
    "Nobody knew which of them was right.",
    "One day a stranger came to the gate.",
    "He carried a lamp and an empty box.",
]


def test_a_user_who_speaks_over_the_reply_is_heard_at_once(
    system: System, model: Model, agent: str, go_forward: Path, tmp_path: Path
) -> None:
    model.tells(STORY, pause_s=1.2)
    model.says("Of course.")
    digits = as_wav(DIGITS, tmp_path)
    before = conversations(system)

    heard = talk(system, agent, go_forward, digits, options=["--barge-in-after", "2000"])

    assert heard.code == 0, heard
    assert model.was_abandoned(turn=0)
    first, second = heard.turns
    assert first["interrupted"], heard
    assert first["silence_after_ms"] <= 1_000, heard  # bench/barge_in.py has the figure
    assert second["transcript"] == "two nine three four zero"
    assert second["reply_text"] == "Of course."

    (history,) = [turns for key, turns in conversations(system).items() if key not in before]
    assert [turn["interrupted"] for turn in history] == [True, False]
    told = " ".join(STORY)
    assert 0 < len(history[0]["agent"]) < len(told) / 2
    assert told.startswith(history[0]["agent"].rstrip(".… ")), history[0]
    assert history[0]["agent"] == first["reply_text"]
    assert ("assistant", history[0]["agent"]) in model.conversation()


def test_a_device_that_hangs_up_ends_the_reply_at_the_model(
    system: System, model: Model, agent: str, go_forward: Path
) -> None:
    model.tells(STORY, pause_s=1.5)
    talking = start_talk(system, agent, go_forward)
    wait_for("the model asked", lambda: model.requests, within=30)
    talking.process.kill()
    talking.finish()

    wait_for("the stream closed by its reader", model.was_abandoned, within=15)
