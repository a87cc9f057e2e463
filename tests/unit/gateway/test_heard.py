from hypothesis import given
from hypothesis import strategies as st

from schemas.turn import ReplyAudio, ReplyText
from workers.gateway.session.heard import SpokenLog


def _text(sentence: int, text: str, attempt: int = 1) -> ReplyText:
    return ReplyText(attempt=attempt, sentence=sentence, text=text)


def _audio(
    sentence: int, first: int, count: int, *, last: bool = False, attempt: int = 1
) -> ReplyAudio:
    packets = tuple(f"{sentence}/{index}".encode() for index in range(first, first + count))
    return ReplyAudio(attempt=attempt, sentence=sentence, first=first, last=last, packets=packets)


def _log() -> SpokenLog:
    log = SpokenLog()
    log.take_text(_text(0, "It is noon."))
    log.take_audio(_audio(0, 0, 40, last=True))
    log.take_text(_text(1, "Shall I set an alarm for you?"))
    log.take_audio(_audio(1, 0, 50))
    return log


def test_what_is_heard_is_cut_at_the_last_whole_word() -> None:
    log = _log()
    assert log.heard(0) == ""
    assert log.heard(20) == "It is"
    assert log.heard(40) == "It is noon."
    assert log.heard(41) == "It is noon."
    assert log.heard(70) == "It is noon. Shall I"
    log.take_audio(_audio(1, 50, 50, last=True))
    assert log.heard(140) == "It is noon. Shall I set an alarm for you?"


def test_words_are_announced_once_with_the_time_at_which_they_are_heard() -> None:
    log = SpokenLog()
    log.take_text(_text(0, "It is noon."))
    packets, delta = log.take_audio(_audio(0, 0, 40, last=True))
    assert len(packets) == 40
    assert delta is not None
    assert (delta.text, delta.start_ms, delta.end_ms) == ("It is noon.", 0, 800)
    log.take_text(_text(1, "Yes."))
    _, begun = log.take_audio(_audio(1, 0, 5))
    assert begun is not None
    assert begun.text == " Yes."
    assert begun.start_ms == 800
    assert begun.end_ms >= 900
    assert log.take_audio(_audio(1, 5, 5, last=True))[1] is None


def test_a_further_attempt_is_told_what_of_it_is_no_part_of_the_reply() -> None:
    log = SpokenLog()
    log.take_text(ReplyText(attempt=1, sentence=0, text="One moment, please.", is_aside=True))
    log.take_audio(_audio(0, 0, 40, last=True))
    log.take_text(_text(1, "It is noon."))
    log.take_audio(_audio(1, 0, 5))
    assert [one.is_aside for one in log.spoken()] == [True, False]


def test_a_further_attempt_is_told_what_was_said_and_continues_it() -> None:
    log = _log()
    assert [(one.text, one.packets, one.complete) for one in log.spoken()] == [
        ("It is noon.", 40, True),
        ("Shall I set an alarm for you?", 50, False),
    ]
    log.take_text(_text(1, "shall I set an alarm for you", attempt=2))
    packets, _ = log.take_audio(_audio(1, 40, 40, last=True, attempt=2))
    assert packets == tuple(f"1/{index}".encode() for index in range(50, 80))
    assert log.heard(120) == "It is noon. Shall I set an alarm for you?"


def test_a_further_attempt_that_says_a_whole_sentence_again_is_not_heard() -> None:
    log = _log()
    log.take_text(_text(2, "It is noon!", attempt=2))
    assert log.take_audio(_audio(2, 0, 40, last=True, attempt=2)) == ((), None)
    assert log.packets == 90


def test_one_attempt_may_say_the_same_sentence_twice() -> None:
    log = SpokenLog()
    for number in range(2):
        log.take_text(_text(number, "Yes."))
        assert len(log.take_audio(_audio(number, 0, 9, last=True))[0]) == 9
    assert log.heard(18) == "Yes. Yes."


def test_a_further_attempt_that_goes_on_otherwise_leaves_what_was_heard() -> None:
    log = _log()
    log.take_text(_text(1, "Good day.", attempt=2))
    packets, delta = log.take_audio(_audio(1, 0, 30, last=True, attempt=2))
    assert len(packets) == 30
    assert delta is not None
    assert log.heard(120) == "It is noon. Shall I set an Good day."


def test_audio_without_words_is_not_played() -> None:
    assert SpokenLog().take_audio(_audio(0, 0, 5)) == ((), None)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 30), st.integers(0, 30)),
        max_size=40,
    )
)
def test_no_packet_is_accepted_twice_and_more_played_is_never_less_heard(
    entries: list[tuple[int, int, int, int]],
) -> None:
    log = SpokenLog()
    accepted: list[bytes] = []
    for attempt, sentence, first, count in sorted(entries):
        log.take_text(_text(sentence, f"Sentence number {sentence} is this.", attempt))
        packets, _ = log.take_audio(_audio(sentence, first, count, attempt=attempt))
        accepted += packets
    assert len(accepted) == log.packets
    lengths = [len(log.heard(played)) for played in range(log.packets + 1)]
    assert lengths == sorted(lengths)


def test_a_filler_is_heard_but_no_part_of_the_answer() -> None:
    log = SpokenLog()
    log.take_text(ReplyText(attempt=1, sentence=0, text="One moment, please.", is_aside=True))
    log.take_audio(_audio(0, 0, 40, last=True))
    log.take_text(_text(1, "It is noon."))
    log.take_audio(_audio(1, 0, 40, last=True))
    assert log.heard(80) == "One moment, please. It is noon."
    assert log.heard(80, with_asides=False) == "It is noon."
    assert log.heard(40, with_asides=False) == ""
