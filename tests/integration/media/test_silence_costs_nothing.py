"""What a connected and silent pair puts on the wire, counted at the UDP socket."""

import asyncio
import time

import pytest
from aioice.ice import StunProtocol
from aiortc.rtp import is_rtcp

from edge.media.rtp import packets_received, send_keepalive
from tests.integration.media.pairs import Peer, connected_pair, play, until

SECONDS = 32.0  # one round of quiet RTCP and six of ICE consent, each both ways
IP_AND_UDP = 20 + 8


class Wire:
    """Counts what one peer's UDP sockets send."""

    def __init__(self, peer: Peer) -> None:
        self.datagrams: list[bytes] = []
        ice = peer.pc.getSenders()[0].transport.transport._connection
        for protocol in ice._protocols:
            self._watch(protocol)

    def _watch(self, protocol: StunProtocol) -> None:
        real = protocol.transport

        class Counting:
            def __getattr__(_, name: str) -> object:  # noqa: N805  # stands in for `real`
                return getattr(real, name)

            def sendto(_, data: bytes, address: tuple[object, ...] | None = None) -> None:  # noqa: N805  # the same
                self.datagrams.append(bytes(data))
                real.sendto(data, address)

        protocol.transport = Counting()  # type: ignore[assignment]  # all that aioice uses of one

    @property
    def bits(self) -> int:
        return 8 * sum(len(data) + IP_AND_UDP for data in self.datagrams)

    @property
    def reports(self) -> list[bytes]:
        return [data for data in self.datagrams if is_rtcp(data)]

    @property
    def media(self) -> list[bytes]:
        return [data for data in self.datagrams if 127 < data[0] < 192 and not is_rtcp(data)]


async def keep_alive(peer: Peer) -> None:
    while True:
        await asyncio.sleep(1.0)
        await send_keepalive(peer.pc)


@pytest.mark.slow
async def test_a_silent_pair_sends_less_than_1_kbit_a_second_each_and_no_rtp() -> None:
    async with connected_pair() as pair:
        # Both have spoken, so both have reports to repeat.
        for peer in pair.peers:
            await play(peer, [b"\x48" + bytes(40)] * 20)
        await until(lambda: all(len(peer.arrived) == 20 for peer in pair.peers))
        wires = [Wire(peer) for peer in pair.peers]
        seen = [packets_received(peer.pc) for peer in pair.peers]
        begin = time.monotonic()
        tasks = [asyncio.create_task(keep_alive(peer), name="keep alive") for peer in pair.peers]
        await asyncio.sleep(SECONDS)
        took = time.monotonic() - begin
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        for peer, wire, before in zip(pair.peers, wires, seen, strict=True):
            print(f"silent: {wire.bits / took:.0f} bit/s in {len(wire.datagrams)} datagrams")
            assert wire.media == []
            assert len(wire.reports) > SECONDS - 2
            assert wire.bits / took < 1000
            # A sign of life about every second reached the other end.
            assert packets_received(peer.pc) - before >= SECONDS - 2


async def test_reports_follow_new_audio_and_then_stop() -> None:
    async with connected_pair(quiet_every=3600) as pair:
        wire = Wire(pair.gateway)
        await play(pair.device, [b"\x48" + bytes(40)] * 20)
        await until(lambda: len(wire.reports) > 0, seconds=4)
        # Four of aiortc's own rounds pass without another report.
        await asyncio.sleep(4.5)

        assert len(wire.reports) == 1
