from edge.conversation import Conversation
from edge.report import as_json, timings_ms
from edge.uplink import GateCount
from schemas import session_events as events


def started(number: int) -> events.ReplyStarted:
    return events.ReplyStarted(reply_id=f"reply_{number}", item_id="item")


def done(number: int, status: str = "completed") -> events.ReplyDone:
    return events.ReplyDone.model_validate({"reply_id": f"reply_{number}", "status": status})


def delta(number: int, text: str) -> events.AgentTranscriptDelta:
    return events.AgentTranscriptDelta(
        reply_id=f"reply_{number}", item_id="item", delta=text, start_ms=0, end_ms=1
    )


def spoken(conversation: Conversation) -> None:
    conversation.begin_turn()
    conversation.gate_opened(10.0, 9.9)
    conversation.gate_closed(12.2, 12.0)
    conversation.event(events.SpeechStopped(), 12.6)
    conversation.event(events.UserTranscript(item_id="i1", text="what time is it"), 12.61)


def test_a_turn_knows_its_words_and_its_times() -> None:
    conversation = Conversation()
    spoken(conversation)
    conversation.event(started(1), 12.64)
    conversation.packet(12.65)
    conversation.packet(12.67)
    conversation.event(delta(1, "Noon"), 12.65)
    conversation.event(delta(1, " sharp."), 12.7)
    turn = conversation.turn
    was_over = turn.is_over
    conversation.event(done(1), 14.0)
    conversation.event(events.ReplyMetrics(reply_id="reply_1", stt_ms=3, total_ms=7), 14.0)
    assert (was_over, turn.is_over) == (False, True)
    assert (turn.transcript, turn.reply_text) == ("what time is it", "Noon sharp.")
    times = timings_ms(turn, 14.0)
    assert times["endpoint_ms"] == 600.0
    assert times["reply_first_packet_ms"] == 650.0
    assert times["total_ms"] == 2000.0
    assert (times["stt_ms"], times["gateway_total_ms"]) == (3.0, 7.0)


def test_what_was_cut_replaces_what_was_announced() -> None:
    conversation = Conversation()
    spoken(conversation)
    conversation.event(started(1), 13.0)
    conversation.event(delta(1, "One two three"), 13.0)
    cut = events.AgentTranscript(
        reply_id="reply_1", item_id="item", text="One two", interrupted=True
    )
    conversation.event(cut, 14.0)
    conversation.event(done(1, "interrupted"), 14.0)
    assert conversation.turn.reply_text == "One two"
    assert conversation.turn.was_interrupted


def test_the_end_of_an_interrupted_reply_belongs_to_its_own_turn() -> None:
    conversation = Conversation()
    spoken(conversation)
    first = conversation.turn
    conversation.event(started(1), 13.0)
    second = conversation.begin_turn()
    conversation.gate_opened(14.0, 13.9)
    conversation.packet(14.01)
    conversation.event(done(1, "interrupted"), 14.1)
    assert first.was_interrupted
    assert second.replies == {}
    assert second.first_packet_at is None
    conversation.event(started(2), 15.0)
    conversation.packet(15.1)
    assert second.first_packet_at == 15.1


def test_two_utterances_in_one_recording_wait_for_the_second_answer() -> None:
    conversation = Conversation()
    spoken(conversation)
    conversation.event(started(1), 13.0)
    conversation.event(done(1), 13.5)
    conversation.gate_opened(14.0, 13.9)
    conversation.gate_closed(15.2, 15.0)
    turn = conversation.turn
    was_over = turn.is_over
    conversation.event(events.UserTranscript(item_id="i2", text="and the date"), 15.7)
    conversation.event(started(2), 15.8)
    conversation.event(done(2), 16.0)
    assert (was_over, turn.is_over) == (False, True)
    assert turn.transcript == "what time is it and the date"
    assert turn.speech_ended_at == 15.0


def test_an_utterance_without_words_and_reply_was_ignored() -> None:
    conversation = Conversation()
    conversation.begin_turn()
    conversation.event(events.UserTranscript(item_id="i1", text=""), 1.0)
    assert conversation.turn.was_ignored


def test_a_report_holds_every_field_when_nothing_happened() -> None:
    turn = Conversation().begin_turn()
    report = as_json(
        turn, heard_s=0, ended_at=None, gate=GateCount(), error=("no_answer", "none"), greeting=None
    )
    assert report["error"] == {"code": "no_answer", "message": "none"}
    assert report["timings_ms"]["reply_first_packet_ms"] is None
    assert report["gate"] == {"opened": 0, "packets_sent": 0, "duty": 0.0}
