from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workers.webhooks.backoff import JITTER, LONGEST, next_attempt

NOW = datetime(2026, 11, 22, tzinfo=UTC)
END = NOW + timedelta(days=3)


def moments(chance: float) -> list[datetime]:
    """When a message that is never taken in is tried, each attempt failing at once."""
    tried = [NOW]
    while (then := next_attempt(len(tried), tried[-1], END, chance=chance)) is not None:
        tried.append(then)
    return tried


@given(st.floats(0, 1))
def test_it_is_tried_for_three_days_with_ever_longer_pauses(chance: float) -> None:
    tried = moments(chance)
    assert tried[-1] == END
    assert 15 <= len(tried) <= 25
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert all(a <= b * 1.01 for a, b in pairwise(pauses[:-1]))
    assert pauses[0] <= timedelta(seconds=6)
    assert max(pauses) <= LONGEST * (1 + JITTER)


@given(st.integers(1, 10_000), st.timedeltas(timedelta(0), timedelta(days=9_999)))
def test_a_receiver_that_wants_a_rest_gets_six_hours_of_it_at_most(
    attempts: int, asked: timedelta
) -> None:
    then = next_attempt(attempts, NOW, END, chance=0.5, asked=asked)
    assert then is not None
    assert min(asked, LONGEST) <= then - NOW <= LONGEST
    assert next_attempt(attempts, END, END, chance=0.5, asked=asked) is None
