import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.media.resample import Resampler


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return (np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate) * 8000).astype(np.int16)


@pytest.mark.parametrize("to_rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("from_rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_length_and_its_pitch(from_rate: int, to_rate: int) -> None:
    resampler = Resampler(from_rate, to_rate)
    heard = np.concatenate((resampler.push(tone(from_rate)), resampler.flush()))

    assert heard.dtype == np.int16
    assert abs(heard.size - to_rate) <= to_rate // 200
    middle = heard[to_rate // 10 : -to_rate // 10].astype(np.float64)
    peak = np.fft.rfftfreq(middle.size, 1 / to_rate)[np.abs(np.fft.rfft(middle)).argmax()]
    assert peak == pytest.approx(440, abs=5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=10))
def test_portions_make_no_difference(portions: list[int]) -> None:
    samples = tone(48_000)[: sum(portions)]
    whole, pieces = Resampler(48_000, 16_000), Resampler(48_000, 16_000)
    expected = np.concatenate((whole.push(samples), whole.flush()))
    got, position = [], 0
    for size in portions:
        got.append(pieces.push(samples[position : position + size]))
        position += size

    assert np.array_equal(np.concatenate((*got, pieces.flush())), expected)


def test_the_same_rate_hands_the_samples_through() -> None:
    resampler = Resampler(16_000, 16_000)
    samples = tone(16_000)

    assert np.array_equal(resampler.push(samples), samples)
    assert resampler.flush().size == 0


def test_a_flushed_resampler_starts_a_new_stream() -> None:
    resampler = Resampler(48_000, 16_000)
    first = np.concatenate((resampler.push(tone(48_000)), resampler.flush()))

    assert np.array_equal(np.concatenate((resampler.push(tone(48_000)), resampler.flush())), first)


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_rates_are_positive(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Resampler(*rates)
