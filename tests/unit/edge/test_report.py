"""What `talk --json` and the terminal say of the models that were tried."""

import io

from rich.console import Console

from edge.conversation import Conversation
from edge.report import as_json
from edge.uplink import GateCount
from edge.view import LiveView
from schemas.chat import FailedTry
from schemas.session_events import ReplyMetrics, ReplyStarted

FAILED = FailedTry(entry=0, model="own", code="http_5xx", status_code=503, after_ms=12.5)
METRICS = ReplyMetrics(
    reply_id="r", model="other", entry=1, attempts=2, failures=(FAILED,), prompt_tokens=12
)


def reported(*metrics: ReplyMetrics) -> dict[str, object]:
    conversation = Conversation()
    turn = conversation.begin_turn()
    conversation.event(ReplyStarted(reply_id="r", item_id="i"), 1.0)
    for event in metrics:
        conversation.event(event, 1.0)
    gate = GateCount()
    return as_json(turn, heard_s=0, ended_at=None, gate=gate, error=None, greeting=None)


def test_the_report_names_who_answered_and_who_did_not() -> None:
    report = reported(METRICS)
    assert report["model"] == {
        "name": "other",
        "entry": 1,
        "failures": [FAILED.model_dump()],
        "prompt_tokens": 12,
        "completion_tokens": None,
    }
    timings = report["timings_ms"]
    assert isinstance(timings, dict)
    assert all(value is None or isinstance(value, float | int) for value in timings.values())
    assert timings["attempts"] == 2
    assert not [name for name in timings if "tokens" in name]


def test_where_no_model_was_asked_none_is_named() -> None:
    assert reported()["model"] is None
    assert reported(ReplyMetrics(reply_id="r"))["model"] is None


def test_the_terminal_shows_each_failed_try() -> None:
    out = io.StringIO()
    LiveView(Console(file=out, width=100)).event(METRICS)
    assert out.getvalue() == "· own failed after 12 ms: http_5xx\n"
