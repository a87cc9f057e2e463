"""What REST shows of a conversation is what was said, and what the model was sent."""

import signal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.acceptance.model import Model
from tests.acceptance.recordings import CARDS, as_wav
from tests.acceptance.talking import start_talk, talk
from tests.servers.system import System
from tests.servers.waiting import wait_for

STORY = ["Once upon a time there was a king.", "He lived in a castle.", "It had seven towers."]


def call(system: System, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, f"{system.url}{path}", headers=system.headers, timeout=20)


def newest(system: System, agent: str) -> dict[str, Any]:
    """Return the newest session if it is one with this agent, else nothing."""
    page = call(system, "/v1/sessions?limit=1").json()
    if [session["agent_id"] for session in page["sessions"]] != [agent]:
        return {}
    (listed,) = page["sessions"]
    record = call(system, f"/v1/sessions/{listed['id']}").json()
    assert record["id"] == listed["id"]
    return dict(record)


def ended(system: System, agent: str, reason: str, within: float = 10.0) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        record = newest(system, agent)
        return record if record["reason"] == reason else None

    return wait_for(f"a session that ended: {reason}", found, within)


def test_the_time_line_shows_what_the_model_was_sent_and_what_was_heard(
    system: System, model: Model, go_forward: Path, tmp_path: Path
) -> None:
    agent = system.agent(greeting="Hello.")
    model.tells(STORY, pause_s=1.2)
    model.says("Of course.")
    fives = as_wav(CARDS / "004.wav", tmp_path)

    heard = talk(system, agent, go_forward, fives, options=["--barge-in-after", "2000"])

    assert heard.code == 0, heard
    record = ended(system, agent, "deleted")  # by the device, as it hangs up
    assert record["duration_s"] > 2
    greeting, first, second = record["timeline"]
    assert (greeting["kind"], greeting["reply"], greeting["sent"]) == ("greeting", "Hello.", [])
    assert (first["user"], first["interrupted"]) == ("go forward ten meters", True)
    assert first["reply"] == heard.turns[0]["reply_text"]
    assert 0 < len(first["reply"]) < len(" ".join(STORY))
    assert (second["user"], second["reply"]) == ("five five", "Of course.")
    assert (second["status"], second["model"], second["attempts"]) == ("completed", "scripted", 1)
    assert second["metrics"]["llm_first_token_ms"] > 0
    assert second["metrics"]["prompt_tokens"] > second["metrics"]["completion_tokens"] > 0
    received = [request.body["messages"] for request in model.requests]
    for turn in (first, second):
        assert [request["messages"] in received for request in turn["sent"]] == [True], turn
    assert second["sent"][0]["messages"] == model.requests[-1].body["messages"]
    assert {"role": "assistant", "content": first["reply"]} in second["sent"][0]["messages"]

    log = "".join(system.log(part) for part in ("gateway", "turns"))
    assert "five five" not in log
    assert "Of course." not in log
    assert call(system, f"/v1/sessions/{record['id']}", "DELETE").status_code == 204
    assert call(system, f"/v1/sessions/{record['id']}").status_code == 404
    with system.redis() as redis:
        assert redis.exists(f"session:{record['id']}:history") == 0


@pytest.mark.slow
def test_a_session_whose_gateway_was_killed_is_lost_and_what_was_said_is_kept(
    system: System, model: Model, go_forward: Path
) -> None:
    agent = system.agent()
    model.says("Ten it is.", "Again.")
    talking = start_talk(system, agent, go_forward, go_forward)
    try:
        turns = wait_for("a turn", lambda: newest(system, agent).get("timeline"), within=40)
        assert newest(system, agent)["status"] == "active"
        pid = system.part("gateway")
        assert pid is not None
        psutil.Process(pid).send_signal(signal.SIGKILL)
    finally:
        talking.process.kill()
        talking.finish()
    wait_for("a ready system", system.is_ready, within=30)

    record = ended(system, agent, "lost", within=45)
    assert record["status"] == "ended"
    assert record["timeline"][0] == turns[0]
