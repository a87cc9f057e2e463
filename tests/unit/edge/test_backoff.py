from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edge.backoff import full_jitter


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    waits = list(islice(full_jitter(lambda: 1.0, first_s=0.5, cap_s=30), 9))
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.randoms(use_true_random=False))
def test_every_wait_lies_between_nothing_and_the_ceiling(random: Random) -> None:
    ceiling = 0.5
    for wait in islice(full_jitter(random.random), 20):
        assert 0 <= wait <= ceiling
        ceiling = min(30.0, ceiling * 2)
