import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.media.receive_buffer import ReceiveBuffer, Received
from schemas.audio import MAX_PACKET_BYTES, PACKET_TICKS

MS = 1e-3
DEADLINE = 60 * MS
STEP = 1e-9  # what adding and subtracting floats may cost


@dataclass
class Listener:
    """Feeds a buffer as its users do: `pop` after each `push` and at each deadline."""

    buffer: ReceiveBuffer = field(default_factory=ReceiveBuffer)
    played: list[tuple[float, Received]] = field(default_factory=list)

    def pop(self, now: float) -> None:
        self.played += [(now, received) for received in self.buffer.pop(now)]

    def arrive(self, now: float, sequence: int, timestamp: int, payload: bytes) -> None:
        self.advance(now)
        self.buffer.push(sequence % 2**16, timestamp % 2**32, payload, now)
        self.pop(now)

    def advance(self, now: float) -> None:
        while (deadline := self.buffer.next_deadline()) is not None and deadline <= now:
            self.pop(deadline)

    @property
    def payloads(self) -> list[bytes]:
        return [received.payload for _, received in self.played]

    @property
    def ticks(self) -> list[int]:
        return [received.ticks for _, received in self.played]


def name(number: int) -> bytes:
    return b"%d" % number


def listen(
    arrivals: list[tuple[float, int]], first: int = 65_500, start: int = 2**32 - 9600
) -> Listener:
    """Play packets that arrive at (time, number), numbered across the wrap of both counters."""
    listener = Listener()
    for now, number in sorted(arrivals):
        listener.arrive(now, first + number, start + number * PACKET_TICKS, name(number))
    listener.advance(float("inf"))
    return listener


def test_packets_in_order_are_not_delayed_and_count_their_ticks_from_zero() -> None:
    listener = listen([(number * 20 * MS, number) for number in range(100)])

    assert listener.payloads == [name(number) for number in range(100)]
    assert listener.ticks == [number * PACKET_TICKS for number in range(100)]
    assert [now for now, _ in listener.played] == [number * 20 * MS for number in range(100)]


def test_a_missing_packet_is_waited_for_until_its_deadline_and_not_longer() -> None:
    listener = listen([(number * 20 * MS, number) for number in range(10) if number != 3])
    delays = [now - int(received.payload) * 20 * MS for now, received in listener.played]

    # 4 waits for 3 until the deadline, 5 and 6 come in meanwhile, 7 arrives as 4 is let go.
    assert delays == pytest.approx([0, 0, 0, 60 * MS, 40 * MS, 20 * MS, 0, 0, 0], abs=STEP)
    assert listener.buffer.lost == 1


def test_a_talk_spurt_after_silence_starts_at_once_and_keeps_its_place_in_time() -> None:
    listener = Listener()
    listener.arrive(0.0, 10, 0, b"a")
    listener.arrive(600.0, 11, 600 * 48_000, b"b")

    assert [(now, received.ticks) for now, received in listener.played] == [
        (0.0, 0),
        (600.0, 600 * 48_000),
    ]


def test_a_silence_longer_than_half_the_range_of_timestamps_is_survived() -> None:
    listener = Listener()
    day = 24 * 3600.0
    listener.arrive(0.0, 10, 0, b"a")
    listener.arrive(day, 11, int(day) * 48_000, b"b")

    assert listener.payloads == [b"a", b"b"]
    assert listener.ticks[1] == int(day) * 48_000


def test_a_duplicate_is_played_once() -> None:
    listener = listen([(n * 20 * MS + copy * MS, n) for n in range(50) for copy in range(3)])

    assert listener.payloads == [name(number) for number in range(50)]
    assert listener.buffer.late == 100


@pytest.mark.parametrize("bad", [b"", bytes(MAX_PACKET_BYTES + 1)], ids=["empty", "oversized"])
def test_an_unusable_payload_is_dropped_and_delays_nobody(bad: bytes) -> None:
    listener = Listener()
    for number in range(10):
        payload = bad if number == 4 else name(number)
        listener.arrive(number * 20 * MS, number, number * PACKET_TICKS, payload)

    assert listener.payloads == [name(number) for number in range(10) if number != 4]
    assert all(now == int(received.payload) * 20 * MS for now, received in listener.played)
    assert (listener.buffer.unusable, listener.buffer.lost) == (1, 0)


@pytest.mark.parametrize(
    ("sequence", "timestamp"),
    [(40_000, 5), (120, 3_000_000_000), (95, 3_000_000_000), (110, 0), (100 + 2**15, 48_000)],
    ids=["both new", "sequence goes on", "sequence behind", "timestamp behind", "opposite"],
)
def test_a_sender_that_starts_anew_is_heard_at_once(sequence: int, timestamp: int) -> None:
    listener = Listener()
    for number in range(110 - 99):
        listener.arrive(number * 20 * MS, 100 + number, 10**9 + number * PACKET_TICKS, b"old")
    begin = 0.3
    for number in range(10):
        now = begin + number * 20 * MS
        listener.arrive(now, sequence + number, timestamp + number * PACKET_TICKS, name(number))

    new = [(now, received) for now, received in listener.played if received.payload != b"old"]
    assert [received.payload for _, received in new] == [name(number) for number in range(10)]
    assert [now for now, _ in new] == [begin + number * 20 * MS for number in range(10)]
    assert listener.buffer.restarts == 1
    # The ticks go on behind the old ones, with the pause that there was.
    pause = int((begin - 10 * 20 * MS) * 48_000)
    assert new[0][1].ticks == pytest.approx(10 * PACKET_TICKS + pause, abs=1)
    assert listener.ticks == sorted(listener.ticks)


def test_what_was_held_back_is_played_before_a_new_start() -> None:
    listener = Listener()
    listener.arrive(0.00, 1, 960, b"1")
    listener.arrive(0.02, 3, 2880, b"3")
    listener.arrive(0.04, 30_000, 77, b"new")

    assert listener.payloads == [b"1", b"3", b"new"]


def test_a_straggler_of_two_seconds_ago_is_late_and_no_new_start() -> None:
    listener = listen([(number * 20 * MS, number) for number in range(200)] + [(4.0, 50)])

    assert listener.payloads == [name(number) for number in range(200)]
    assert (listener.buffer.late, listener.buffer.restarts) == (1, 0)


def test_after_an_outage_of_two_seconds_audio_is_back_without_delay() -> None:
    arrivals = [(n * 20 * MS, n) for n in range(300) if not 100 <= n < 200]
    listener = listen(arrivals)
    delays = {int(r.payload): now - int(r.payload) * 20 * MS for now, r in listener.played}

    assert len(delays) == 200
    assert max(delays.values()) <= DEADLINE + STEP
    assert all(delays[number] == 0 for number in range(204, 300))


def test_a_buffer_that_nobody_empties_keeps_the_newest_half_second() -> None:
    buffer = ReceiveBuffer()
    for number in range(1000):
        buffer.push(number, number * PACKET_TICKS, name(number), number * 20 * MS)

    assert [r.payload for r in buffer.pop(20.0)] == [name(number) for number in range(975, 1000)]
    assert buffer.overrun == 975


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.10, 0.20])
@pytest.mark.parametrize("seed", range(3))
def test_under_loss_all_that_arrives_is_played_within_80_ms(loss: float, seed: int) -> None:
    chance = random.Random(seed)
    arrivals = [
        (n * 20 * MS + chance.uniform(0, 15 * MS), n)
        for n in range(10_000)
        if chance.random() >= loss
    ]
    listener = listen(arrivals)
    arrived_at = {number: now for now, number in arrivals}
    added = [now - arrived_at[int(received.payload)] for now, received in listener.played]

    assert len(listener.played) >= 0.995 * len(arrivals)
    assert max(added) <= 80 * MS
    assert sum(added) / len(added) <= 25 * MS


@pytest.mark.parametrize("seed", range(3))
def test_a_second_after_a_disturbance_nothing_is_delayed(seed: int) -> None:
    chance = random.Random(seed)
    shaken = range(500, 600)
    arrivals = [
        (n * 20 * MS + (chance.uniform(0, 200 * MS) if n in shaken else 0), n)
        for n in range(1500)
        if n not in shaken or chance.random() >= 0.3
    ]
    listener = listen(arrivals)
    late = [
        now - int(r.payload) * 20 * MS
        for now, r in listener.played
        if int(r.payload) >= shaken.stop + 50
    ]

    assert len(late) == 1500 - shaken.stop - 50
    assert max(late) == 0


# Delays in milliseconds; the first packet of all is nobody's latecomer.
Jitter = st.lists(st.integers(0, 60), min_size=2, max_size=120)


@given(Jitter, st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_jitter_and_reordering_within_the_deadline_lose_nothing(
    jitter: list[int], first: int, start: int
) -> None:
    jitter[0] = 0
    listener = listen([(n * 20 * MS + ms * MS, n) for n, ms in enumerate(jitter)], first, start)

    assert listener.payloads == [name(number) for number in range(len(jitter))]
    assert listener.ticks == [number * PACKET_TICKS for number in range(len(jitter))]


Network = st.lists(
    st.tuples(st.integers(0, 400), st.booleans(), st.integers(1, 2)), min_size=1, max_size=80
)


@settings(max_examples=300)
@given(Network, st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_any_network_leaves_order_no_duplicates_and_nothing_held_beyond_the_deadline(
    network: list[tuple[int, bool, int]], first: int, start: int
) -> None:
    arrivals = [
        (n * 20 * MS + delay * MS + copy * MS, n)
        for n, (delay, arrives, copies) in enumerate(network)
        if arrives
        for copy in range(copies)
    ]
    listener = listen(arrivals, first, start)
    numbers = [int(payload) for payload in listener.payloads]
    came_at: dict[int, float] = {}
    for now, number in sorted(arrivals):
        came_at.setdefault(number, now)

    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(came_at)
    assert listener.ticks == [(number - numbers[0]) * PACKET_TICKS for number in numbers]
    for now, received in listener.played:
        assert 0 <= now - came_at[int(received.payload)] <= DEADLINE + STEP
    assert listener.buffer.next_deadline() is None


Anything = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**32 - 1),
        st.one_of(st.just(b""), st.just(b"x"), st.just(bytes(MAX_PACKET_BYTES + 1))),
        st.floats(0, 0.5),
        st.booleans(),
    ),
    max_size=120,
)


@settings(max_examples=300)
@given(Anything)
def test_whatever_comes_in_the_buffer_stays_small_and_time_never_runs_back(
    packets: list[tuple[int, int, bytes, float, bool]],
) -> None:
    buffer = ReceiveBuffer()
    now, ticks = 0.0, 0
    for sequence, timestamp, payload, pause, pops in packets:
        now += pause
        buffer.push(sequence, timestamp, payload, now)
        if not pops:
            continue
        released = buffer.pop(now)
        assert len(released) <= 25
        for received in released:
            assert received.ticks >= ticks
            ticks = received.ticks
    rest = buffer.pop(now + 1)
    assert len(rest) <= 25
    assert buffer.next_deadline() is None


def test_counters_that_disagree_do_not_make_time_run_back() -> None:
    buffer = ReceiveBuffer()
    for sequence, timestamp in [(0, 0), (0, 1), (2, 2), (1, 0)]:
        buffer.push(sequence, timestamp, b"x", 0.0)
    ticks = [received.ticks for received in buffer.pop(1.0)]
    assert ticks == sorted(ticks)
