"""Samples on their way from a device's format to ours, and back."""

import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from edge import earcon
from edge.media.opus import OpusEncoder
from edge.microphone import Shape, is_quiet
from edge.playout import FRAME_SAMPLES
from edge.recorder import Recorder
from edge.reply_line import ReplyLine
from edge.room import Room
from edge.sound import Format
from edge.speaker import Feed


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_microphone_of_any_format_gives_chunks_of_20_ms(rate: int, channels: int) -> None:
    shape = Shape(Format(0, "mic", rate, channels))
    captured = np.full((rate // 50, channels), 1_000, dtype=np.int16).tobytes()
    chunks = [chunk for _ in range(50) for chunk in shape.push(captured)]
    assert 48 <= len(chunks) <= 50
    assert all(chunk.shape == (320,) and chunk.dtype == np.int16 for chunk in chunks)
    assert np.abs(chunks[10].astype(int) - 1_000).max() <= 20


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_speaker_of_any_format_gets_as_much_as_it_asks_for(rate: int, channels: int) -> None:
    line = ReplyLine()
    line.sound(np.full(48_000, 1_000, dtype=np.int16))
    feed = Feed(line, Format(0, "speaker", rate, channels))
    played = b"".join(feed.next(rate // 50, n * 0.02) for n in range(60))
    samples = np.frombuffer(played, dtype=np.int16).reshape(-1, channels)
    assert len(samples) == rate // 50 * 60
    assert (samples == samples[:, :1]).all()
    sounding = np.abs(samples[:, 0].astype(int)) > 900
    assert sounding.sum() / rate == pytest.approx(1.0, abs=0.03)


def test_a_tone_of_the_devices_own_ends_by_itself() -> None:
    line = ReplyLine()
    line.sound(earcon.offline())
    frames = [line.read(n * 0.02) for n in range(20)]
    assert frames[0] is not None
    assert frames[-1] is None
    assert line.idle


def test_network_and_speaker_share_the_line_from_two_threads() -> None:
    line = ReplyLine()
    packets = OpusEncoder().encode(np.full(320 * 50, 1_000, dtype=np.int16))
    failures: list[BaseException] = []
    stop = threading.Event()

    def speaker() -> None:
        try:
            while not stop.is_set():
                line.read(time.monotonic())
        except BaseException as failure:  # noqa: BLE001  # whatever it is, the test reports it
            failures.append(failure)

    thread = threading.Thread(target=speaker)
    thread.start()
    for number in range(3_000):
        line.packet(number, number * 960, packets[number % len(packets)])
        assert line.idle in {True, False}
        if number % 7 == 0:
            line.fall_silent()
    stop.set()
    thread.join(10)
    assert failures == []


@pytest.mark.parametrize("tone", [earcon.offline(), earcon.online()])
def test_earcons_are_short_soft_and_without_a_click(tone: NDArray[np.int16]) -> None:
    assert len(tone) / 48_000 < 0.3
    assert 1_000 < np.abs(tone.astype(int)).max() < 8_000
    assert np.abs(np.diff(tone.astype(int))).max() < 1_000


def test_only_what_no_detector_could_take_for_speech_is_quiet() -> None:
    assert is_quiet(np.full(320, 99, dtype=np.int16).tobytes())
    assert not is_quiet(np.full(320, -100, dtype=np.int16).tobytes())
    assert not is_quiet(np.full(320, 32_767, dtype=np.int16).tobytes())
    assert is_quiet(b"")


def test_a_room_gives_every_sample_that_was_said_and_faint_noise_after() -> None:
    room = Room()
    said = np.arange(1, 1_001, dtype=np.int16)
    room.say(said)
    heard = []
    while not room.quiet:
        heard.append(room.next_chunk())
    assert (np.concatenate(heard)[:1_000] == said).all()
    noise = room.next_chunk()
    assert noise.shape == (320,)
    assert 0 < np.abs(noise.astype(int)).max() <= 4


class Tape:
    def __init__(self) -> None:
        self.frames: list[int] = []

    def write(self, samples: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> None:
        self.frames.append(int(samples[0]))


def test_a_recording_begins_and_ends_with_sound_and_keeps_the_pauses_within() -> None:
    tape = Tape()
    recorder = Recorder(tape)
    sound = np.full(FRAME_SAMPLES, 7, dtype=np.int16)
    for frame in (None, None, sound, None, None, sound, None):
        recorder.write(frame)
    assert tape.frames == [7, 0, 0, 7]


def test_a_recording_keeps_no_more_than_two_seconds_of_a_pause() -> None:
    tape = Tape()
    recorder = Recorder(tape)
    sound = np.full(FRAME_SAMPLES, 7, dtype=np.int16)
    recorder.write(sound)
    for _ in range(1_000):
        recorder.write(None)
    recorder.write(sound)
    assert len(tape.frames) == 102
