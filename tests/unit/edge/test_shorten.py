import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.shorten import LEAST, MOST, OVERLAP, shorten


@given(st.integers(0, 3_000), st.integers(0, 99))
def test_a_cut_takes_between_5_and_13_ms_and_invents_no_loudness(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, length).astype(np.int16)
    shorter = shorten(samples)
    if length < MOST + OVERLAP:
        assert shorter is samples
        return
    assert LEAST <= length - len(shorter) <= MOST
    assert np.abs(shorter.astype(int)).max(initial=0) <= 20_000


def test_a_steady_tone_stays_steady_across_the_seam() -> None:
    times = np.arange(960) / 48_000
    tone = (np.sin(2 * np.pi * 150 * times) * 10_000).astype(np.int16)
    steps = np.abs(np.diff(shorten(tone).astype(int)))
    assert steps.max() < 1.5 * np.abs(np.diff(tone.astype(int))).max()
