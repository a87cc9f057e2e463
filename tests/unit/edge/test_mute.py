from edge.mute import Mute
from schemas.session_events import ReplyDone, ReplyStarted

OLD = ReplyStarted(reply_id="reply_1", item_id="item_1")
NEW = ReplyStarted(reply_id="reply_2", item_id="item_2")


def playing() -> Mute:
    mute = Mute()
    mute.event(OLD)
    assert mute.packet(1.0)
    return mute


def test_speech_while_nothing_plays_silences_nothing() -> None:
    mute = Mute()
    assert not mute.speech_began(1.0)
    assert mute.packet(2.0)


def test_speech_over_a_reply_silences_the_rest_of_it() -> None:
    mute = playing()
    assert mute.speech_began(1.01)
    assert mute.is_on
    assert not mute.packet(1.02)
    assert not mute.packet(1.04)


def test_the_next_reply_is_heard() -> None:
    mute = playing()
    mute.speech_began(1.01)
    mute.packet(1.02)
    mute.event(NEW)
    assert mute.packet(1.03)


def test_a_packet_after_the_old_reply_is_done_is_heard() -> None:
    mute = playing()
    mute.speech_began(1.01)
    assert not mute.packet(1.02)
    mute.event(ReplyDone(reply_id="reply_1", status="interrupted"))
    assert mute.packet(1.9)


def test_a_packet_after_a_pause_is_heard_though_the_events_are_held_up() -> None:
    mute = playing()
    mute.speech_began(1.01)
    assert not mute.packet(1.02)
    assert mute.packet(1.5)


def test_a_second_word_does_not_silence_the_same_reply_again() -> None:
    mute = playing()
    assert mute.speech_began(1.01)
    assert not mute.speech_began(1.3)


def test_a_reply_whose_packets_came_before_its_event_can_be_interrupted() -> None:
    mute = Mute()
    assert mute.packet(1.0)
    assert mute.speech_began(1.01)


def test_a_reply_that_is_over_is_not_interrupted() -> None:
    mute = playing()
    mute.event(ReplyDone(reply_id="reply_1", status="completed"))
    assert not mute.speech_began(5.0)
