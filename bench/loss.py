"""What a lossy network leaves of a reply: our receive buffer and aiortc's, on the same packets.

Simulated time: 100 seconds of speech per loss rate take about two. The device's own
`Playout` (receive buffer, cushion, decoder, shortening) plays it; nothing in it is replaced but
the clock and the network.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from bench.figure import Figure, percentile
from edge.media.opus import OpusDecoder, OpusEncoder
from edge.playout import Playout
from schemas.audio import PACKET_MS, PACKET_TICKS

LOSS = (0.01, 0.05, 0.10, 0.20)
PACKET_S = PACKET_MS / 1000
JITTER_S = 0.004
"""Mean of the exponential delay that the network adds to each packet."""
STALL_EVERY, STALL_AT, STALL_S = 500, 250, 0.3
"""Every ten seconds the network stands still for 300 ms and then delivers all at once."""
DELAY_MS = 80.0
PHASES = (0.001, 0.005, 0.009, 0.013, 0.017)
"""When the speaker first asks: its clock has nothing to do with the sender's. One run each."""
RUNS = len(PHASES)


@dataclass(frozen=True)
class Arrival:
    """One packet as it reaches the device; `number` counts the packets that were sent."""

    at: float
    number: int


@dataclass
class Heard:
    """What came in, and per packet when the frame that it begins in went to the speaker."""

    arrivals: list[Arrival]
    played_at: dict[int, float] = field(default_factory=dict)

    def delays(self) -> list[float]:
        """Return the seconds from arrival to speaker of each packet that was played."""
        played = (arrival for arrival in self.arrivals if arrival.number in self.played_at)
        return [self.played_at[arrival.number] - arrival.at for arrival in played]

    def time_over(self, limit_s: float) -> list[float]:
        """Return for how long each run of packets was played more than `limit_s` late."""
        spans: list[float] = []
        since: float | None = None
        for arrival in self.arrivals:
            played = self.played_at.get(arrival.number)
            if played is None:
                continue
            late = played - arrival.at > limit_s
            if late and since is None:
                since = played
            elif not late and since is not None:
                spans.append(max(0.0, played - since))
                since = None
        return spans if since is None else [*spans, self.arrivals[-1].at - since]


def run(*, quick: bool) -> list[Figure]:
    """Return how much is played and how late, for each loss rate."""
    payloads = speech_packets(500 if quick else 1_000)
    return [figure for rate in LOSS for figure in _at_rate(rate, payloads)]


def _at_rate(rate: float, payloads: list[bytes]) -> list[Figure]:
    heard = [play(network(len(payloads), rate, seed=n), payloads, PHASES[n]) for n in range(RUNS)]
    arrived = sum(len(run.arrivals) for run in heard)
    delays = [1000 * delay for run in heard for delay in run.delays()]
    theirs = sum(play_with_aiortc(run.arrivals, payloads) for run in heard)
    back = [span for n in range(RUNS) for span in _spans_late(rate, payloads, n)]
    stalls = RUNS * (len(payloads) // STALL_EVERY)
    median, worst = percentile(delays, 0.5), max(delays)
    label = f"at {rate:.0%} loss"
    return [
        Figure(
            f"played of the packets that arrive, {label}",
            100 * len(delays) / arrived,
            "%",
            99.5,
            "at least",
            note=f"aiortc's own buffer: {100 * theirs / arrived:.1f} %",
        ),
        Figure(
            f"delay added by the buffer, {label}, p95",
            percentile(delays, 0.95),
            "ms",
            DELAY_MS,
            note=f"p50 {median:.0f} ms, max {worst:.0f} ms",
        ),
        Figure(
            f"longest time until it is back there, {label}",
            max(back, default=0.0),
            "s",
            1.0,
            note=f"the network stood still for {STALL_S * 1000:.0f} ms {stalls} times",
        ),
    ]


def _spans_late(rate: float, payloads: list[bytes], number: int) -> list[float]:
    """Return how long each excursion above the delay lasts where the network stands still."""
    arrivals = network(len(payloads), rate, seed=number, stalls=True)
    return play(arrivals, payloads, PHASES[number]).time_over(DELAY_MS / 1000)


def network(count: int, rate: float, *, seed: int, stalls: bool = False) -> list[Arrival]:
    """Return which of `count` packets arrive and when, in order of arrival."""
    rng = random.Random(seed)  # noqa: S311  # a repeatable network, no secret
    arrivals = []
    for number in range(count):
        at = number * PACKET_S + rng.expovariate(1 / JITTER_S)
        stalled = number % STALL_EVERY - STALL_AT
        if stalls and 0 <= stalled < STALL_S / PACKET_S:
            at = max(at, (number - stalled) * PACKET_S + STALL_S)
        if rng.random() >= rate:
            arrivals.append(Arrival(at, number))
    return sorted(arrivals, key=lambda arrival: (arrival.at, arrival.number))


def play(arrivals: list[Arrival], payloads: list[bytes], phase: float) -> Heard:
    """Play what arrives through the device's own path; the speaker asks every 20 ms."""
    heard = Heard(arrivals)
    decoder = _Noting(heard, payloads)
    playout = Playout(decoder)
    moments = heapq.merge(
        ((arrival.at, arrival) for arrival in arrivals),
        ((now, None) for now in _speaker(phase, arrivals[-1].at + 1)),
        key=lambda moment: moment[0],
    )
    for now, arrival in moments:
        if arrival is None:
            decoder.now = now
            playout.read(now)
        else:
            number = arrival.number
            playout.push(number & 0xFFFF, number * PACKET_TICKS, payloads[number], now)
    return heard


def _speaker(phase: float, until: float) -> Iterator[float]:
    while phase < until:
        yield phase
        phase += PACKET_S


class _Noting:
    """The real decoder, which notes when the speaker took which packet."""

    def __init__(self, heard: Heard, payloads: list[bytes]) -> None:
        self._decoder = OpusDecoder(48_000)
        self._heard = heard
        self._numbers = {payload: number for number, payload in enumerate(payloads)}
        self.now = 0.0

    def decode(self, packet: bytes) -> NDArray[np.int16]:
        self._heard.played_at[self._numbers[packet]] = self.now
        return self._decoder.decode(packet)

    def conceal(self) -> NDArray[np.int16]:
        return self._decoder.conceal()


def play_with_aiortc(arrivals: list[Arrival], payloads: list[bytes]) -> int:
    """Return how many packets come out of aiortc's jitter buffer, set as its receiver sets it."""
    buffer = JitterBuffer(capacity=16, prefetch=4)
    frames = 0
    for arrival in arrivals:
        packet = RtpPacket(
            payload_type=96,
            sequence_number=arrival.number & 0xFFFF,
            timestamp=arrival.number * PACKET_TICKS,
            payload=payloads[arrival.number],
        )
        packet._data = packet.payload  # type: ignore[attr-defined]  # noqa: SLF001  # set by aiortc's receiver after depayloading
        frames += buffer.add(packet)[1] is not None
    return frames


def speech_packets(count: int) -> list[bytes]:
    """Return `count` different Opus packets of a voiced sound that rises, falls and pauses."""
    at = np.arange(count * 320) / 16_000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * at)) / 16_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 12))
    loud = np.clip(np.sin(2 * np.pi * 1.7 * at) + 0.4, 0, None)
    noise = np.random.default_rng(1).normal(0, 40, at.size)
    samples = (4_000 * loud * voice + noise).astype(np.int16)
    packets = OpusEncoder().encode(samples)
    return packets[:count]
