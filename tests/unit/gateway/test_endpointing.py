from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.session.endpointing import Endpoint

LONGEST_S = 60.0


def test_a_turn_ends_when_the_silence_since_the_last_speech_is_long_enough() -> None:
    endpoint = Endpoint(LONGEST_S, now=100.0)
    endpoint.closed(102.0, silence_s=0.2, ends_after_s=0.6)
    assert endpoint.is_paused
    assert round(endpoint.due(), 6) == 102.4
    assert round(endpoint.silence_s(102.4), 6) == 0.6


def test_speech_before_the_end_takes_the_pause_back() -> None:
    endpoint = Endpoint(LONGEST_S, now=100.0)
    endpoint.closed(102.0, silence_s=0.2, ends_after_s=0.6)
    endpoint.opened()
    assert not endpoint.is_paused
    assert endpoint.due() == 160.0
    assert endpoint.silence_s(103.0) == 0.0


def test_each_pause_may_end_the_turn_after_another_silence() -> None:
    endpoint = Endpoint(LONGEST_S, now=100.0)
    endpoint.closed(102.0, silence_s=0.2, ends_after_s=0.6)
    endpoint.opened()
    endpoint.closed(103.0, silence_s=0.0, ends_after_s=2.0)
    assert endpoint.due() == 105.0


def test_a_silence_cannot_be_older_than_the_turn() -> None:
    endpoint = Endpoint(LONGEST_S, now=100.0)
    endpoint.closed(100.1, silence_s=59.0, ends_after_s=0.6)
    assert endpoint.due() == 100.6


@given(
    st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.floats(0, 60)), min_size=1, max_size=20)
)
def test_a_turn_is_always_due_and_never_later_than_the_longest(
    changes: list[tuple[float, bool, float]],
) -> None:
    now = 0.0
    endpoint = Endpoint(LONGEST_S, now)
    for passed, opens, silence in changes:
        now += passed
        if opens:
            endpoint.opened()
        else:
            endpoint.closed(now, silence, 0.6)
        assert 0.6 <= endpoint.due() <= 60.0
        assert 0.0 <= endpoint.silence_s(now) <= now
