"""The pure parts of speech over HTTP: bytes into samples, a map of voices."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agent import VOICES
from workers.errors import ConfigurationError
from workers.providers.speech.speech_voices import read_voices
from workers.providers.speech.wave_bytes import NotPcmError, PcmStream, wav_file

SAMPLES = np.arange(-500, 500, dtype=np.int16)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from([16_000, None]))
def test_samples_come_out_whole_however_the_bytes_are_cut(
    places: list[int], wav_rate: int | None
) -> None:
    data = wav_file(SAMPLES.tobytes(), wav_rate) if wav_rate else SAMPLES.tobytes()
    stream = PcmStream(24_000)
    pieces = [stream.feed(piece) for piece in cut(data, places)]
    assert np.array_equal(np.concatenate([np.empty(0, np.int16), *pieces]), SAMPLES)
    assert stream.rate == (wav_rate or 24_000)


def test_what_a_server_writes_before_the_samples_is_passed_over() -> None:
    whole = wav_file(SAMPLES.tobytes(), 22_050)
    note = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    stream = PcmStream(24_000)
    assert np.array_equal(stream.feed(whole[:36] + note + whole[36:]), SAMPLES)
    assert stream.rate == 22_050


def stereo() -> bytes:
    return wav_file(SAMPLES.tobytes(), 24_000).replace(b"\x01\x00\x01\x00", b"\x01\x00\x02\x00", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"ID3\x04 a tune",
        b"OggS and so on",
        b"<html>sign in</html>",
        stereo(),
        b"RIFF" + b"x" * 9_000,
    ],
    ids=["mp3", "ogg", "html", "stereo", "endless header"],
)
def test_what_is_no_speech_is_refused(data: bytes) -> None:
    with pytest.raises(NotPcmError):
        PcmStream(24_000).feed(data)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_samples_or_refused(data: bytes, places: list[int]) -> None:
    stream = PcmStream(24_000)
    try:
        for piece in cut(data, places):
            stream.feed(piece)
    except NotPcmError:
        return


@pytest.mark.parametrize(
    ("text", "ivy", "ruby"),
    [
        ("nova", "nova", "nova"),
        ("ivy=a,ruby=b", "a", "b"),
        (" ruby = af_bella ,", "af_bella", "af_bella"),
    ],
)
def test_voices_are_mapped(text: str, ivy: str, ruby: str) -> None:
    voices = read_voices(text)
    assert set(voices) == set(VOICES)
    assert (voices["ivy"], voices["ruby"]) == (ivy, ruby)


@pytest.mark.parametrize("text", ["", ",", "ivy=", "nobody=nova", "nova,onyx"])
def test_a_map_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="EDGEWISE_TTS_VOICE"):
        read_voices(text)
