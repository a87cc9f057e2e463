"""What a second of audio costs, in CPU time of the whole process; limits are ten times the norm."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from edge.media.detector import SpeechDetector
from edge.media.opus import OpusDecoder, OpusEncoder
from schemas.audio import CHUNK_SAMPLES
from tests.unit.media import sounds

SECONDS = 20


def share_of_a_core(work: Callable[[sounds.Samples], object], samples: sounds.Samples) -> float:
    begin = time.process_time()
    for chunk in samples.reshape(-1, CHUNK_SAMPLES):
        work(chunk)
    return (time.process_time() - begin) / (samples.size / 16_000)


def voices() -> sounds.Samples:
    joined = np.concatenate([sounds.load(path) for path in sounds.recordings()])
    return joined[: SECONDS * 16_000]


ROOMS: dict[str, tuple[Callable[[], sounds.Samples], float]] = {
    "silence": (lambda: sounds.noise(SECONDS, -62.0, seed=1), 0.004),
    "hum": (lambda: sounds.hum(SECONDS, -30.0), 0.03),
    "speech": (voices, 0.03),
}


@pytest.mark.parametrize("room", ROOMS)
def test_the_detector_is_cheap(room: str) -> None:
    make, limit = ROOMS[room]
    share = share_of_a_core(SpeechDetector().is_speech, make())
    print(f"detector in {room}: {share:.3%} of a core")

    assert share <= limit


def test_opus_is_cheap_both_ways() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    samples = voices()
    encoding = share_of_a_core(encoder.encode, samples)
    packets = OpusEncoder().encode(samples)
    begin = time.process_time()
    for packet in packets:
        decoder.decode(packet)
    decoding = (time.process_time() - begin) / SECONDS
    print(f"opus: encode {encoding:.3%}, decode {decoding:.3%} of a core")

    assert encoding <= 0.06
    assert decoding <= 0.02
