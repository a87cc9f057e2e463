from hypothesis import given
from hypothesis import strategies as st

from workers.supervision.supervise import LONGEST_PAUSE_S, pause_before


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer() -> None:
    assert [pause_before(n) for n in range(1, 8)] == [0, 0.25, 0.5, 1, 2, 4, 5]


@given(st.integers(min_value=1, max_value=10**9))
def test_a_pause_never_shrinks_and_never_passes_the_longest(ended: int) -> None:
    assert pause_before(ended) <= pause_before(ended + 1) <= LONGEST_PAUSE_S
