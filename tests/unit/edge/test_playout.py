import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.playout import FRAME_SAMPLES, Playout
from schemas.audio import PACKET_TICKS

Samples = NDArray[np.int16]


class Decoder:
    """A packet's first byte is its loudness in thousands; zero is garbage."""

    def decode(self, packet: bytes) -> Samples:
        if packet[0] == 0:
            raise ValueError("garbage")
        return np.full(FRAME_SAMPLES, packet[0] * 100, dtype=np.int16)

    def conceal(self) -> Samples:
        return np.full(FRAME_SAMPLES, -1, dtype=np.int16)


def packet(number: int) -> tuple[int, int, bytes]:
    return number, number * PACKET_TICKS, bytes([number % 255 + 1, 1])


class Line:
    """A sender that sends every 20 ms, a network that delays and loses, a speaker that asks."""

    def __init__(self) -> None:
        self.playout = Playout(Decoder())
        self.heard: list[Samples | None] = []

    def run(self, arrivals: dict[int, list[int]], slots: int) -> "Line":
        """Arrivals: slot -> numbers of the packets that arrive in it."""
        for slot in range(slots):
            now = slot * 0.02
            for number in arrivals.get(slot, []):
                self.playout.push(*packet(number), now)
            self.heard.append(self.playout.read(now + 0.001))
        return self

    @property
    def sounding(self) -> list[Samples]:
        return [frame for frame in self.heard if frame is not None]


def on_time(count: int, lost: tuple[int, ...] = ()) -> dict[int, list[int]]:
    return {number: [number] for number in range(count) if number not in lost}


def test_nothing_sounds_before_a_packet_comes() -> None:
    line = Line().run({}, 10)
    assert line.sounding == []
    assert line.playout.idle


def test_a_reply_is_played_whole_and_in_order_after_a_short_cushion() -> None:
    line = Line().run(on_time(50), 60)
    first = next(index for index, frame in enumerate(line.heard) if frame is not None)
    assert first * 20 <= 40
    frames = [frame for frame in line.sounding if frame[0] != -1]
    assert [int(frame[0]) // 100 for frame in frames] == list(range(1, 51))
    assert line.playout.played_packets == 50
    assert line.playout.idle


def test_a_single_packet_is_played_though_no_other_follows() -> None:
    line = Line().run({3: [0]}, 20)
    assert int(line.sounding[0][0]) == 100


def test_a_lost_packet_is_concealed_and_time_stays_true() -> None:
    line = Line().run(on_time(50, lost=(20,)), 70)
    assert line.playout.played_packets == 49
    assert 1 <= line.playout.concealed_frames <= 6


def test_garbage_is_concealed_and_the_audio_goes_on() -> None:
    line = Line()
    for number in range(20):
        payload = b"\x00\xff" if number % 3 == 0 else packet(number)[2]
        line.playout.push(number, number * PACKET_TICKS, payload, number * 0.02)
        line.heard.append(line.playout.read(number * 0.02 + 0.001))
    assert line.playout.played_packets >= 10


def test_a_burst_after_a_stall_is_played_whole_and_the_delay_is_back_within_a_second() -> None:
    arrivals = on_time(200)
    for number in range(50, 65):
        arrivals.setdefault(65, []).append(number)
        del arrivals[number]
    arrivals[65] = sorted(arrivals[65])
    line = Line()
    delays = []
    for slot in range(220):
        for number in arrivals.get(slot, []):
            line.playout.push(*packet(number), slot * 0.02)
        line.heard.append(line.playout.read(slot * 0.02 + 0.001))
        delays.append(line.playout.delay_ms)
    assert line.playout.played_packets == 200
    assert max(delays[65:70]) > 200
    assert max(delays[65 + 50 : 199]) <= 80


def test_drop_silences_the_next_frame_and_what_comes_later_is_heard() -> None:
    line = Line().run(on_time(20), 10)
    assert line.heard[-1] is not None
    line.playout.drop()
    assert line.playout.read(0.3) is None
    assert line.playout.idle
    for number in range(40, 50):
        line.playout.push(*packet(number), 1 + number * 0.02)
    assert line.playout.read(2.0) is not None


@pytest.mark.parametrize("pause_slots", [10, 100])
def test_a_pause_between_sentences_is_silence_and_not_made_up_for(pause_slots: int) -> None:
    arrivals = on_time(10)
    for index in range(10):
        arrivals[10 + pause_slots + index] = [10 + pause_slots + index]
    line = Line().run(arrivals, 40 + pause_slots)
    assert line.playout.played_packets == 20
    assert sum(frame is None for frame in line.heard) >= pause_slots - 6


@given(
    st.lists(st.integers(0, 120), min_size=1, max_size=80),
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
)
def test_whatever_the_network_does_frames_are_whole_and_it_ends_in_silence(
    numbers: list[int], delays: list[int]
) -> None:
    arrivals: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        arrivals.setdefault(number + delays[index % len(delays)], []).append(number)
    line = Line().run(arrivals, 200)
    assert all(frame.shape == (FRAME_SAMPLES,) for frame in line.sounding)
    assert line.playout.idle
    assert line.heard[-1] is None


@given(st.integers(0, 100), st.floats(0.01, 0.2))
def test_what_arrives_in_order_is_played_whatever_is_lost(seed: int, share: float) -> None:
    lost = np.random.default_rng(seed).random(300) < share
    arrivals = {number: [number] for number in range(300) if not lost[number]}
    line = Line().run(arrivals, 340)
    arrived = len(arrivals)
    assert line.playout.played_packets >= 0.995 * arrived
