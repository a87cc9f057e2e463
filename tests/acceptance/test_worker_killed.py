"""kill -9 of the turn worker in the middle of a turn: the answer comes, late, once."""

import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.acceptance.history import conversations, turns_under_way
from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import System, running_system
from tests.servers.waiting import wait_for

SENTENCES = [
    "The first train leaves at seven.",
    "Another one follows at nine.",
    "There is coffee on the platform.",
]
ANSWER = " ".join(SENTENCES)
PAUSE_S = 1.5
"""The model speaks so slowly that the worker is still at work at the last moment."""
SPEECH_S = 2.8
REPLY_BEGINS_S = SPEECH_S + 0.6
HALF_OF_REPLY_S = 2.4
LATEST_S = REPLY_BEGINS_S + HALF_OF_REPLY_S
MOMENTS = 10
NOTICED_S = 4.0
"""Silence that counts as death, and how often the gateway looks, with room for a busy machine."""


def moments(seed: int = 20_261_122) -> list[float]:
    """Return ten random moments, one in each tenth of speech, pause and half the reply."""
    chance = random.Random(seed)
    tenth = LATEST_S / MOMENTS
    return [round((number + chance.random()) * tenth, 2) for number in range(MOMENTS)]


@pytest.fixture(scope="module")
def victim(shared_model: Model) -> Iterator[System]:
    """A system of this module's own, because its worker dies again and again."""
    with running_system(EDGEWISE_MANAGED_LLM_BASE_URL=shared_model.url) as system:
        yield system


@pytest.fixture(scope="module")
def untroubled_s(victim: System, shared_model: Model, go_forward: Path) -> float:
    """How many seconds of reply are heard when nothing is killed."""
    shared_model.reset()
    shared_model.tells(SENTENCES, pause_s=PAUSE_S)
    heard = talk(victim, victim.agent(), go_forward)
    assert heard.code == 0, heard
    return float(heard.turn["reply_audio_s"])


def kill_at(system: System, moment: float, began: float) -> float:
    """Kill the worker `moment` seconds after speech began; return when, in epoch seconds."""
    worker = system.part("turns")
    assert worker is not None
    time.sleep(max(0.0, began + moment - time.monotonic()))  # the moment is what is tested
    psutil.Process(worker).kill()
    return time.time()


def worker_is_back(system: System, killed: int | None) -> bool:
    """Tell whether another worker takes turns."""
    worker = system.part("turns")
    with system.redis() as redis:
        present = [name.decode().split(":")[1] for name in redis.zrange("presence:turns", 0, -1)]
    return worker != killed and str(worker) in present


def silence_noticed(system: System, since: float) -> list[float]:
    """Return when the gateway said that a worker fell silent, in epoch seconds."""
    times = [
        datetime.fromisoformat(event["timestamp"]).timestamp()
        for event in system.events("gateway")
        if event["event"] == "turn worker fell silent"
    ]
    return [moment for moment in times if moment >= since]


def nobody_can_tell(
    system: System, model: Model, go_forward: Path, moment: float, untroubled_s: float
) -> None:
    """Talk, kill the worker at that moment, and assert that the answer is heard, once."""
    agent = system.agent()
    model.tells(SENTENCES, pause_s=PAUSE_S)
    before, known = conversations(system), turns_under_way(system)
    doomed = system.part("turns")
    talking = start_talk(system, agent, go_forward)
    wait_for("the turn", lambda: turns_under_way(system) - known, within=30)
    killed_at = kill_at(system, moment, time.monotonic())

    heard = talking.finish()

    assert heard.code == 0, heard
    assert heard.turn["transcript"] == "go forward ten meters"
    assert heard.turn["reply_text"] == ANSWER, heard
    assert heard.turn["error"] is None
    assert float(heard.turn["reply_audio_s"]) == pytest.approx(untroubled_s, abs=0.3)
    (history,) = [turns for key, turns in conversations(system).items() if key not in before]
    assert [(turn["agent"], turn["interrupted"]) for turn in history] == [(ANSWER, False)]
    assert silence_noticed(system, killed_at)[0] - killed_at < NOTICED_S
    wait_for("the worker back", lambda: worker_is_back(system, doomed), within=30)


@pytest.mark.parametrize("moment", moments()[2::5], ids="{:.2f}s".format)
def test_a_worker_killed_in_speech_or_in_the_reply_is_not_missed(
    victim: System, model: Model, go_forward: Path, untroubled_s: float, moment: float
) -> None:
    nobody_can_tell(victim, model, go_forward, moment, untroubled_s)


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(), ids="{:.2f}s".format)
def test_a_worker_killed_at_ten_random_moments_is_not_missed(
    victim: System, model: Model, go_forward: Path, untroubled_s: float, moment: float
) -> None:
    nobody_can_tell(victim, model, go_forward, moment, untroubled_s)
