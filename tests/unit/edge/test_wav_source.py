import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import BadInputError
from edge.wav_source import read_speech


def tone(rate: int, seconds: float = 0.5) -> NDArray[np.float64]:
    return np.asarray(np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate) * 0.5)


def write(path: Path, rate: int, channels: int, width: int) -> Path:
    wave_form = np.repeat(tone(rate), channels)
    scaled = (wave_form * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        data = (scaled + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in scaled)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_wav_of_any_rate_and_depth_becomes_the_same_speech(
    tmp_path: Path, rate: int, channels: int, width: int
) -> None:
    samples = read_speech(write(tmp_path / "in.wav", rate, channels, width))
    assert samples.dtype == np.int16
    assert len(samples) / 16_000 == pytest.approx(0.5, abs=0.01)
    assert 12_000 < np.abs(samples[2_000:6_000].astype(int)).max() < 18_000
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert np.fft.rfftfreq(len(samples), 1 / 16_000)[spectrum.argmax()] == pytest.approx(440, abs=5)


@pytest.mark.parametrize("channels", [3, 4, 6, 8, 12])
def test_a_wav_of_many_channels_is_mixed(tmp_path: Path, channels: int) -> None:
    samples = read_speech(write(tmp_path / "in.wav", 16_000, channels, 2))
    assert len(samples) == pytest.approx(8_000, abs=160)
    assert np.abs(samples.astype(int)).max() > 1_000


def test_a_float_wav_is_read(tmp_path: Path) -> None:
    data = tone(16_000).astype("<f4").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1,
                         16_000, 64_000, 4, 32, b"data", len(data))  # fmt: skip
    path = tmp_path / "float.wav"
    path.write_bytes(header + data)
    assert np.abs(read_speech(path).astype(int)).max() > 12_000


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"no audio at all " * 100, bytes(5_000), b"RIFF\x24\0\0\0WAVEfmt " + bytes(20)],
)
def test_what_is_no_audio_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"notes\.wav"):
        read_speech(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.wav", tmp_path):
        with pytest.raises(BadInputError, match="no such file"):
            read_speech(path)


def test_a_wav_that_is_cut_short_gives_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "in.wav", 16_000, 1, 2)
    path.write_bytes(path.read_bytes()[:8_000])
    assert 3_000 < len(read_speech(path)) < 4_100


def test_a_wav_without_a_sample_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
    with pytest.raises(BadInputError, match=r"empty\.wav"):
        read_speech(path)
