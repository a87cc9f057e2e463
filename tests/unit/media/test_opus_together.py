"""Packets that are decoded together give the samples that they give one by one."""

import numpy as np
import pytest

from edge.media.opus import OpusDecoder, OpusEncoder

RATE = 16_000


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    moments = np.arange(RATE) / RATE
    tone = (8_000 * np.sin(2 * np.pi * 440 * moments) * np.sin(9 * moments)).astype(np.int16)
    return OpusEncoder(RATE).encode(tone)


@pytest.mark.parametrize("together", [1, 3, 50])
def test_the_samples_are_the_same(packets: list[bytes], together: int) -> None:
    one, all_ = OpusDecoder(RATE), OpusDecoder(RATE)
    singly = np.concatenate([one.decode(packet) for packet in packets])
    at_once = np.concatenate(
        [all_.decode_all(packets[n : n + together]) for n in range(0, len(packets), together)]
    )
    assert np.array_equal(singly, at_once)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_opus_is_concealed_in_its_place(packets: list[bytes], place: int) -> None:
    decoder = OpusDecoder(RATE)
    decoder.decode_all(packets[:10])
    lot = packets[10:13]
    lot[place] = b""
    samples = decoder.decode_all(lot)
    assert samples.size == pytest.approx(3 * RATE // 50, abs=RATE // 500)
    assert np.abs(samples).max() > 500


def test_nothing_is_no_samples() -> None:
    assert OpusDecoder(RATE).decode_all([]).size == 0
