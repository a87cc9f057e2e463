import numpy as np
import pytest

from edge.media.detector import LAG_MS
from edge.uplink import Chunk, Uplink
from schemas import session_events as events


class Detector:
    def is_speech(self, chunk: Chunk) -> bool:
        return bool(chunk[0])


class Encoder:
    def encode(self, samples: Chunk) -> list[bytes]:
        return [int(samples[1]).to_bytes(2, "big")]


class Wire:
    def __init__(self) -> None:
        self.sent: list[object] = []
        self.opened: list[tuple[float, float]] = []
        self.closed: list[tuple[float, float]] = []
        self.uplink = Uplink(
            detector=Detector(),
            encoder=Encoder(),
            send_packet=lambda packet, ticks: self.sent.append((int.from_bytes(packet), ticks)),
            send_event=self.sent.append,
            on_opened=lambda now, began: self.opened.append((round(now, 3), round(began, 3))),
            on_closed=lambda now, ended: self.closed.append((round(now, 3), round(ended, 3))),
        )
        self.number = 0

    def hear(self, chunks: int, *, speech: bool) -> None:
        for _ in range(chunks):
            chunk = np.zeros(320, dtype=np.int16)
            chunk[:2] = int(speech), self.number
            self.number += 1
            self.uplink.push(chunk, self.number * 0.02)


def test_silence_sends_nothing() -> None:
    wire = Wire()
    wire.hear(200, speech=False)
    assert wire.sent == []
    assert wire.uplink.count.duty == 0


def test_speech_is_announced_then_sent_whole_with_its_pre_roll_and_true_times() -> None:
    wire = Wire()
    wire.hear(50, speech=False)
    wire.hear(20, speech=True)
    wire.hear(30, speech=False)
    first, *packets, last = wire.sent
    assert first == events.GateOpened()
    assert last == events.GateClosed(silence_ms=200 + LAG_MS)
    assert packets == [(number, number * 960) for number in range(35, 80)]
    assert wire.opened == [(1.06, 1.0)]
    ((closed_at, speech_ended),) = wire.closed
    assert closed_at == 1.6
    assert speech_ended == pytest.approx(1.4 - LAG_MS / 1000)
    assert wire.uplink.count.opened == 1
    assert wire.uplink.count.packets_sent == 45


def test_a_click_opens_nothing() -> None:
    wire = Wire()
    wire.hear(50, speech=False)
    wire.hear(2, speech=True)
    wire.hear(50, speech=False)
    assert wire.sent == []
