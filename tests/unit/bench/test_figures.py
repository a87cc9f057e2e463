import pytest

from bench.device_cost import Sample, windows
from bench.device_process import Sent, is_rtp
from bench.figure import Figure, NotMeasuredError, percentile
from bench.loss import Arrival, Heard, network, play, speech_packets


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile(values, 0.5) == 3.0
    assert percentile(values, 0.95) == 5.0
    assert percentile(values, 0.0) == 1.0
    with pytest.raises(NotMeasuredError):
        percentile([], 0.5)


def test_a_figure_says_whether_it_keeps_to_its_target() -> None:
    assert Figure("delay", 80.0, "ms", 80.0).reached
    assert not Figure("delay", 80.1, "ms", 80.0).reached
    assert not Figure("played", 99.4, "%", 99.5, "at least").reached
    entry = Figure("played", 99.95678, "%", 99.5, "at least").entry()
    assert (entry["value"], entry["reached"]) == (99.96, True)


def test_only_rtp_counts_as_rtp() -> None:
    assert is_rtp(bytes([0x80, 96]) + bytes(10))
    assert is_rtp(bytes([0x80, 0x80 | 96]) + bytes(10))
    assert not is_rtp(bytes([0x80, 201]) + bytes(6))
    assert not is_rtp(bytes([0x00, 0x01]) + bytes(18))
    assert not is_rtp(bytes([22, 254, 253]))
    assert not is_rtp(b"")


def test_a_datagram_is_counted_with_its_headers() -> None:
    sent = Sent()
    sent.count(bytes(100), ("127.0.0.1", 5000))
    sent.count(bytes(100), ("::1", 5000, 0, 0))
    assert (sent.datagrams, sent.rtp, sent.wire_bytes) == (2, 0, 128 + 148)


def test_the_first_rtp_packet_divides_silence_from_speech() -> None:
    samples = [
        Sample(
            at=second,
            cpu_s=0.01 * second + 0.05 * max(0, second - 20),
            memory=1,
            datagrams=second,
            rtp=50 * max(0, min(second, 30) - 20),
            wire_bytes=100 * second,
        )
        for second in range(41)
    ]
    quiet, speaking = windows(samples)
    assert (quiet.first.at, quiet.last.at) == (4, 20)
    assert (speaking.first.at, speaking.last.at) == (22, 29)
    assert quiet.cpu == pytest.approx(1.0)
    assert speaking.cpu == pytest.approx(6.0)
    assert quiet.kilobits == pytest.approx(0.8)


def test_a_device_that_never_speaks_cannot_be_measured() -> None:
    silent = [Sample(at=s, cpu_s=0, memory=1, datagrams=0, rtp=0, wire_bytes=0) for s in range(9)]
    with pytest.raises(NotMeasuredError):
        windows(silent)


def test_an_excursion_lasts_from_its_first_late_packet_to_the_first_in_time() -> None:
    arrivals = [Arrival(0.02 * n, n) for n in range(6)]
    delays = [0.05, 0.09, 0.12, 0.1, 0.05, 0.05]
    heard = Heard(arrivals, {n: 0.02 * n + delay for n, delay in enumerate(delays)})
    assert heard.time_over(0.08) == [pytest.approx(0.13 - 0.11)]
    assert heard.delays() == [pytest.approx(delay) for delay in delays]


def test_without_loss_every_packet_is_played_soon() -> None:
    payloads = speech_packets(100)
    heard = play(network(100, 0.0, seed=1), payloads, 0.007)
    assert len(heard.played_at) == 100
    assert max(heard.delays()) < 0.07
