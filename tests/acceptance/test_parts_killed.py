"""Other parts die or hang in mid-turn: it ends with a word about it, and life goes on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.history import turns_under_way
from tests.acceptance.model import Model
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import System, running_system
from tests.servers.waiting import wait_for

STORY = ["The first train leaves at seven.", "Another one follows at nine.", "That is all."]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def victim(shared_model: Model) -> Iterator[System]:
    """A system of this module's own, because its parts are killed."""
    with running_system(EDGEWISE_MANAGED_LLM_BASE_URL=shared_model.url) as system:
        yield system


def part_of(system: System, name: str) -> psutil.Process:
    number = system.part(name)
    assert number is not None
    return psutil.Process(number)


@pytest.mark.parametrize("name", ["gateway", "redis"])
@pytest.mark.parametrize("after_s", [1.0, 4.5], ids=["in speech", "in the reply"])
def test_a_part_killed_in_a_turn_is_reported_or_survived_and_the_next_call_works(
    victim: System, model: Model, go_forward: Path, name: str, after_s: float
) -> None:
    agent = victim.agent()
    model.tells(STORY, pause_s=1.2)
    known = turns_under_way(victim)
    talking = start_talk(victim, agent, go_forward)
    wait_for("the turn", lambda: turns_under_way(victim) - known, within=30)
    time.sleep(after_s)  # the moment is what is tested
    doomed = part_of(victim, name)
    doomed.kill()

    heard = talking.finish(within=45)

    assert "Traceback" not in heard.stderr, heard
    assert (heard.code == 0) == (heard.turn["error"] is None), heard
    wait_for("another one", lambda: victim.part(name) not in {None, doomed.pid}, within=20)
    wait_for("a ready system", victim.is_ready, within=20)
    again = talk(victim, agent, go_forward)
    assert again.code == 0, again
    assert again.turn["reply_text"] == " ".join(STORY)


def test_a_turn_whose_worker_hangs_ends_with_a_spoken_line(
    victim: System, model: Model, go_forward: Path
) -> None:
    agent = victim.agent()
    model.tells(STORY, pause_s=1.2)
    known = turns_under_way(victim)
    talking = start_talk(victim, agent, go_forward)
    wait_for("the turn", lambda: turns_under_way(victim) - known, within=30)
    worker = part_of(victim, "turns")
    worker.send_signal(signal.SIGSTOP)
    try:
        heard = talking.finish(within=45)
    finally:
        worker.send_signal(signal.SIGCONT)

    assert heard.code == 1, heard
    assert heard.turn["error"]["code"] == "turn_worker_lost", heard
    assert heard.turn["reply_audio_s"] > 0.5, heard
    again = talk(victim, agent, go_forward)
    assert again.code == 0, again
    assert again.turn["reply_text"] == " ".join(STORY)


def test_devices_that_talk_at_the_same_time_get_their_own_answers(
    victim: System, model: Model, go_forward: Path
) -> None:
    agents = [victim.agent(system_prompt=f"You are number {number}.") for number in range(4)]
    model.says("Yes.")
    talks = [start_talk(victim, agent, go_forward) for agent in agents]

    heard = [talking.finish() for talking in talks]

    assert [each.code for each in heard] == [0, 0, 0, 0], heard
    assert {each.turn["transcript"] for each in heard} == {"go forward ten meters"}
    asked = {request.body["messages"][0]["content"] for request in model.requests}
    assert asked == {f"You are number {number}." for number in range(4)}
