import asyncio

import pytest

from schemas.audio import PACKET_TICKS
from workers.gateway.session import playout as playout_module
from workers.gateway.session.playout import LEAD_S, MAX_QUEUED, Playout


class Sent:
    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.ticks: list[int] = []
        self.times: list[float] = []

    def __call__(self, packet: bytes, ticks: int) -> None:
        self.packets.append(packet)
        self.ticks.append(ticks)
        self.times.append(asyncio.get_running_loop().time())


def _packets(count: int) -> tuple[bytes, ...]:
    return tuple(index.to_bytes(2, "big") for index in range(count))


async def test_packets_go_out_in_order_at_the_pace_of_speech_and_a_little_early() -> None:
    sent = Sent()
    playout = Playout(sent)
    began = asyncio.get_running_loop().time()
    playout.push(_packets(25))
    assert len(sent.packets) >= 3
    assert playout.is_playing
    await playout.silent()
    took = asyncio.get_running_loop().time() - began
    assert sent.packets == list(_packets(25))
    assert 0.48 <= took < 0.8
    assert playout.played == 25
    for index, at in enumerate(sent.times):
        assert at - began >= index * 0.02 - LEAD_S - 0.001
    assert {b - a for a, b in zip(sent.ticks, sent.ticks[1:], strict=False)} == {PACKET_TICKS}


async def test_what_is_played_is_counted_by_the_clock_not_by_what_was_sent() -> None:
    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(3))
    assert len(sent.packets) == 3
    assert playout.played == 0
    await playout.silent()
    assert playout.played == 3


async def test_dropping_is_silence_at_once() -> None:
    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(100))
    before = len(sent.packets)
    playout.drop()
    assert not playout.is_playing
    await asyncio.wait_for(playout.silent(), 5)
    await asyncio.sleep(0.08)
    assert len(sent.packets) == before


async def test_rtp_time_follows_the_clock_over_a_pause() -> None:
    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(2))
    await playout.silent()
    await asyncio.sleep(0.2)
    playout.push(_packets(1))
    assert sent.ticks[2] - sent.ticks[1] >= 0.2 / 0.02 * PACKET_TICKS


async def test_packets_that_come_while_the_last_one_sounds_join_it_without_a_gap() -> None:
    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(3))
    await asyncio.sleep(0.03)
    playout.push(_packets(3))
    await playout.silent()
    assert {b - a for a, b in zip(sent.ticks, sent.ticks[1:], strict=False)} == {PACKET_TICKS}


async def test_a_reply_without_end_is_cut_not_kept() -> None:
    playout = Playout(Sent())
    assert playout.push((b"x",) * (MAX_QUEUED + 500)) == MAX_QUEUED
    assert playout.push((b"x",) * 500) <= 5
    playout.drop()


async def test_there_is_room_again_once_enough_has_sounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(playout_module, "FULL", 20)
    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(20))
    async with asyncio.timeout(0.01):
        await playout.room()
    playout.push(_packets(20))
    began = asyncio.get_running_loop().time()
    await playout.room()
    assert asyncio.get_running_loop().time() - began >= 0.2
    assert playout.push(_packets(20)) == 20
    playout.drop()


@pytest.mark.parametrize("stall", [0.3, 1.0])
async def test_after_a_stall_of_the_process_nothing_comes_in_a_burst(stall: float) -> None:
    import time

    sent = Sent()
    playout = Playout(sent)
    playout.push(_packets(100))
    await asyncio.sleep(0.05)
    time.sleep(stall)  # noqa: ASYNC251  # the stall is what is tested
    before = len(sent.packets)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(sent.packets) - before <= 5
    playout.drop()
