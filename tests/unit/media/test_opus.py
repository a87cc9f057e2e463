import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.media.opus import OpusDecoder, OpusEncoder
from schemas.audio import CHUNK_SAMPLES, MAX_PACKET_BYTES
from tests.unit.media import sounds


def tone(samples: int, rate: int = 16_000) -> np.ndarray:
    return (np.sin(2 * np.pi * 440 * np.arange(samples) / rate) * 8000).astype(np.int16)


def packet_ms(packet: bytes) -> float:
    """Length in milliseconds by the packet's first byte (RFC 6716, section 3.1)."""
    config, frames = packet[0] >> 3, packet[0] & 3
    length: float
    if config < 12:
        length = (10, 20, 40, 60)[config % 4]
    elif config < 16:
        length = (10, 20)[config % 2]
    else:
        length = (2.5, 5, 10, 20)[config % 4]
    assert frames == 0, "one frame a packet"
    return length


@pytest.mark.parametrize("rate", [8000, 12_000, 16_000, 24_000, 48_000])
def test_every_packet_is_20_ms_of_mono_whatever_the_rate(rate: int) -> None:
    packets = OpusEncoder(rate).encode(tone(rate, rate))

    assert len(packets) == 50
    assert {packet_ms(packet) for packet in packets} == {20}
    assert not any(packet[0] & 0b100 for packet in packets)


def test_the_packets_keep_to_their_bitrate() -> None:
    speech = sounds.load(sounds.POCKETSPHINX / "numbers.raw")
    packets = OpusEncoder().encode(speech)
    bits = 8 * sum(map(len, packets))

    assert bits / (speech.size / 16_000) == pytest.approx(24_000, rel=0.25)
    assert max(map(len, packets)) < 200


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1500), max_size=12))
def test_samples_in_any_portions_give_the_same_packets(portions: list[int]) -> None:
    samples = tone(sum(portions))
    encoder = OpusEncoder()
    packets = []
    position = 0
    for size in portions:
        packets += encoder.encode(samples[position : position + size])
        position += size
    assert len(packets) == samples.size // CHUNK_SAMPLES

    packets += encoder.flush()
    whole = OpusEncoder()
    assert packets == whole.encode(samples) + whole.flush()
    assert len(packets) == -(-samples.size // CHUNK_SAMPLES)


def test_what_was_flushed_is_not_flushed_again() -> None:
    encoder = OpusEncoder()
    encoder.encode(tone(100))

    assert len(encoder.flush()) == 1
    assert encoder.flush() == []


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_a_tone_comes_back_at_the_rate_that_was_asked_for(rate: int) -> None:
    decoder = OpusDecoder(rate)
    heard = np.concatenate([decoder.decode(p) for p in OpusEncoder().encode(tone(16_000))])

    assert heard.dtype == np.int16
    assert heard.ndim == 1
    assert abs(heard.size - rate) <= rate // 500
    spectrum = np.abs(np.fft.rfft(heard[rate // 10 :].astype(np.float64)))
    peak = np.fft.rfftfreq(heard.size - rate // 10, 1 / rate)[spectrum.argmax()]
    assert peak == pytest.approx(440, abs=5)


@pytest.mark.parametrize(
    "packet",
    [b"", bytes(MAX_PACKET_BYTES + 1), b"\x03", b"\x4b\xff" + b"x" * 20],
    ids=["empty", "oversized", "no frame count", "more frames than fit"],
)
def test_what_is_no_packet_is_a_value_error_and_the_stream_goes_on(packet: bytes) -> None:
    decoder = OpusDecoder()
    packets = OpusEncoder().encode(tone(3200))
    for good in packets[:5]:
        decoder.decode(good)
    with pytest.raises(ValueError, match="Opus"):
        decoder.decode(packet)

    assert [decoder.decode(good).size for good in packets[5:]] == [CHUNK_SAMPLES] * 5


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=1400), max_size=5))
def test_garbage_decodes_or_is_a_value_error_and_never_more_than_120_ms(junk: list[bytes]) -> None:
    decoder = OpusDecoder()
    for packet in junk:
        try:
            samples = decoder.decode(packet)
        except ValueError:
            continue
        assert samples.dtype == np.int16
        assert samples.size <= 16_000 * 0.120 + 32
    (good,) = OpusEncoder().encode(tone(CHUNK_SAMPLES))
    assert abs(decoder.decode(good).size - CHUNK_SAMPLES) <= 32


def test_a_lost_packet_is_an_echo_that_fades_and_then_silence() -> None:
    decoder = OpusDecoder()
    heard = [decoder.decode(packet) for packet in OpusEncoder().encode(tone(3200))]
    first, second = decoder.conceal(), decoder.conceal()

    assert first.size == second.size == CHUNK_SAMPLES
    assert first[0] == heard[-1][-1]
    assert np.abs(first[:80]).mean() > np.abs(first[-80:]).mean() * 3
    assert not second.any()
    assert not OpusDecoder().conceal().any()


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="16-bit"):
        OpusEncoder().encode(np.zeros(320, np.float32))
