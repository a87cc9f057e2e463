from pathlib import Path

import numpy as np
import pytest

from edge.media.opus import OpusEncoder
from schemas.audio import PACKET_TICKS
from workers.gateway.session.local_gate import LocalGate

RECORDING = Path("/usr/share/pocketsphinx/test/data/goforward.raw")
SECOND = np.zeros(16_000, np.int16)


class Heard:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.packets: list[bytes] = []
        self.threshold = 0.5
        self.gate = LocalGate(
            threshold=lambda: self.threshold,
            opened=lambda: self.events.append("opened"),
            closed=lambda _: self.events.append("closed"),
            passed=self.packets.append,
        )


def _packets() -> list[bytes]:
    spoken = np.fromfile(RECORDING, dtype="<i2")
    return OpusEncoder().encode(np.concatenate((SECOND, spoken, SECOND)))


def test_speech_passes_as_it_came_and_silence_does_not() -> None:
    heard, packets = Heard(), _packets()
    for index, packet in enumerate(packets):
        heard.gate.packet(packet, index * PACKET_TICKS)
    assert heard.events[0] == "opened"
    assert heard.events[-1] == "closed"
    assert 50 < len(heard.packets) < len(packets) - 40
    assert set(heard.packets) <= set(packets)


def test_nothing_passes_twice_and_order_is_kept() -> None:
    heard, packets = Heard(), _packets()
    for index, packet in enumerate(packets):
        heard.gate.packet(packet, index * PACKET_TICKS)
    places = iter(packets)
    assert all(packet in places for packet in heard.packets)


@pytest.mark.parametrize("poison", [b"", b"\xff" * 1275, b"\x03"])
def test_what_is_no_opus_counts_as_silence(poison: bytes) -> None:
    heard, packets = Heard(), _packets()
    for index, packet in enumerate(packets):
        heard.gate.packet(poison if index % 10 == 0 else packet, index * PACKET_TICKS)
    assert heard.events[0] == "opened"
    assert poison not in heard.packets


def test_a_stream_that_stops_in_mid_word_shuts_the_gate_after_its_silence() -> None:
    heard, packets = Heard(), _packets()
    for index, packet in enumerate(packets[:110]):
        heard.gate.packet(packet, index * PACKET_TICKS)
    was_open = heard.gate.is_open
    heard.gate.silence(15)
    assert (was_open, heard.gate.is_open) == (True, False)
    assert heard.events[-1] == "closed"


def test_a_gap_in_rtp_time_is_silence_too() -> None:
    heard, packets = Heard(), _packets()
    for index, packet in enumerate(packets[:110]):
        heard.gate.packet(packet, index * PACKET_TICKS)
    heard.gate.packet(packets[0], 10**9)
    assert not heard.gate.is_open


@pytest.mark.parametrize("samples", [160, 640, 960])
def test_packets_of_other_lengths_are_gated_as_well(samples: int) -> None:
    import av

    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = 16_000, "mono", "s16"
    codec.options = {"frame_duration": str(samples // 16)}
    spoken = np.concatenate((SECOND, np.fromfile(RECORDING, dtype="<i2"), SECOND))
    heard = Heard()
    for start in range(0, spoken.size - samples, samples):
        frame = av.AudioFrame.from_ndarray(
            spoken[start : start + samples].reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = 16_000, start
        for packet in codec.encode(frame):
            heard.gate.packet(bytes(packet), start * 3)
    assert heard.events[0] == "opened"
    assert heard.events[-1] == "closed"
    assert len(heard.packets) * samples > 16_000


def test_another_threshold_counts_once_the_gate_is_shut() -> None:
    heard, unchanged, packets = Heard(), Heard(), _packets()
    for index, packet in enumerate(packets):
        unchanged.gate.packet(packet, index * PACKET_TICKS)
        heard.gate.packet(packet, index * PACKET_TICKS)
        heard.threshold = 1.0 if heard.gate.is_open else heard.threshold
    assert heard.packets == unchanged.packets
    for index, packet in enumerate(packets, start=len(packets)):
        heard.gate.packet(packet, index * PACKET_TICKS)
    assert heard.events == ["opened", "closed"]


def test_a_threshold_at_which_nobody_was_heard_can_be_lowered() -> None:
    heard, packets = Heard(), _packets()
    heard.threshold = 1.0
    for index, packet in enumerate(packets):
        heard.gate.packet(packet, index * PACKET_TICKS)
    assert heard.events == []
    heard.threshold = 0.5
    for index, packet in enumerate(packets, start=len(packets)):
        heard.gate.packet(packet, index * PACKET_TICKS)
    assert heard.events == ["opened", "closed"]
