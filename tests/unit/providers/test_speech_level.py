"""Speech comes out at one loudness, complete and in order, however it was cut into pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.speech.speech_level import (
    LEAD_FRAMES,
    MAX_GAIN,
    TARGET_RMS,
    Samples,
    SpeechLevel,
)

RATE = 16_000
LEAD = LEAD_FRAMES * 320


def voice(rms: float, seconds: float = 1.0) -> Samples:
    """A steady tone of this loudness."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone: Samples = np.rint(np.sin(2 * np.pi * 300 * time) * rms * np.sqrt(2)).astype(np.int16)
    return tone


def levelled(samples: Samples) -> Samples:
    level = SpeechLevel()
    return np.concatenate((level.push(samples), level.finish()))


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.mark.parametrize("loudness", [60, 300, 1_000, 3_000, 12_000])
def test_soft_and_loud_voices_come_out_at_one_loudness(loudness: float) -> None:
    assert rms(levelled(voice(loudness))) == pytest.approx(TARGET_RMS, rel=0.02)


def test_the_pauses_in_speech_do_not_count_for_its_loudness() -> None:
    pause = voice(10, 0.4)
    out = levelled(np.concatenate((pause, voice(3_000), pause)))

    assert rms(out[pause.size : -pause.size]) == pytest.approx(TARGET_RMS, rel=0.02)


def test_a_faint_room_is_not_made_as_loud_as_a_voice() -> None:
    room = voice(5)

    assert rms(levelled(room)) == pytest.approx(MAX_GAIN * rms(room), rel=0.02)


def test_digital_silence_stays_silent() -> None:
    silence = np.zeros(RATE, np.int16)

    assert np.array_equal(levelled(silence), silence)


def test_nothing_goes_on_before_the_first_half_second_is_heard() -> None:
    level = SpeechLevel()

    assert level.push(voice(3_000)[: LEAD - 1]).size == 0
    assert level.push(voice(3_000)[LEAD - 1 : LEAD]).size == LEAD
    assert level.push(voice(3_000)[:320]).size == 320
    assert level.finish().size == 0


def test_a_word_shorter_than_that_comes_at_the_end() -> None:
    assert rms(levelled(voice(3_000, 0.21))) == pytest.approx(TARGET_RMS, rel=0.03)


def test_a_shout_after_a_whisper_is_bounded_not_wrapped_round() -> None:
    whisper, shout = voice(60, 0.6), voice(20_000, 0.1)
    out = levelled(np.concatenate((whisper, shout)))

    assert rms(out[-shout.size :]) < 3 * TARGET_RMS


@given(
    pieces=st.lists(st.integers(0, 3_000), max_size=12),
    loudness=st.floats(1, 20_000),
)
def test_the_pieces_it_comes_in_make_no_difference(pieces: list[int], loudness: float) -> None:
    speech = voice(loudness, sum(pieces) / RATE)
    level = SpeechLevel()
    cuts = [sum(pieces[:count]) for count in range(1, len(pieces))]

    out = [*(level.push(piece) for piece in np.split(speech, cuts)), level.finish()]

    assert np.array_equal(np.concatenate(out), levelled(speech))
    assert sum(piece.size for piece in out) == speech.size
