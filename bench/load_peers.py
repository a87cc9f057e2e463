"""Many devices in one process: connected and silent, or busy both ways.

Run by `bench.gateway_cpu` as `python -m bench.load_peers URL KEY AGENT COUNT`; it talks JSON
lines: `{"connected": n}` when all are, and upon a line `speak` on its input
`{"busy": n}` when all of them send speech and receive a reply; upon `count` it answers
`{"sent": n, "received": n}`, packets so far. It ends with its input.
"""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack

from pydantic import SecretStr

from bench.loss import speech_packets
from edge.peer import Peer, open_peer
from edge.settings import DeviceSettings
from schemas.audio import PACKET_MS, PACKET_TICKS
from schemas.session_events import AnyServerEvent, GateClosed, GateOpened

UTTERANCE_PACKETS = 50
SPREAD_S = 0.05
REPLY_S = 20.0


class Device:
    """One of many; plays nothing, only counts."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self._answered = asyncio.Event()
        self.peer: Peer | None = None

    def on_packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """Count a reply packet."""
        del sequence, timestamp, payload
        self.received += 1
        self._answered.set()

    def on_event(self, event: AnyServerEvent) -> None:
        """Hear nothing of it."""

    def on_degraded(self, *, degraded: bool) -> None:
        """Hear nothing of it."""

    async def converse(self, packets: list[bytes], busy: asyncio.Event) -> None:
        """Ask something, then speak on over the reply; sets `busy` when audio flows both ways."""
        assert self.peer is not None  # noqa: S101  # connected before it speaks
        ticks = await self._speak(packets[:UTTERANCE_PACKETS], 0)
        self.peer.send_event(GateClosed(silence_ms=200))
        async with asyncio.timeout(REPLY_S):
            await self._answered.wait()
        busy.set()
        ticks += 2 * 48_000
        while True:
            ticks = await self._speak(packets, ticks)

    async def _speak(self, packets: list[bytes], ticks: int) -> int:
        assert self.peer is not None  # noqa: S101  # connected before it speaks
        self.peer.send_event(GateOpened())
        due = time.monotonic()
        for packet in packets:
            self.peer.send_packet(packet, ticks)
            self.sent += 1
            ticks += PACKET_TICKS
            due += PACKET_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return ticks


async def main(url: str, key: str, agent: str, count: int) -> None:
    """Connect, then do as the lines of the standard input say."""
    settings = DeviceSettings(
        _env_file=None, server=url, agent=agent, api_key=SecretStr(key), connect_s=30
    )
    devices = [Device() for _ in range(count)]
    lines = await _standard_input()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        tasks = []
        for number, device in enumerate(devices):
            device.peer = await stack.enter_async_context(open_peer(settings, device))
            watch = device.peer.watch(settings, device)
            tasks.append(group.create_task(watch, name=f"signs of life {number}"))
        _tell(connected=count)
        while line := (await lines.readline()).decode().strip():
            if line == "speak":
                tasks += await _all_speak(devices, group)
                _tell(busy=count)
            else:
                _tell(sent=sum(d.sent for d in devices), received=sum(d.received for d in devices))
        for task in tasks:
            task.cancel()


async def _all_speak(devices: list[Device], group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    packets = speech_packets(2_500)
    tasks, busy = [], []
    for number, device in enumerate(devices):
        busy.append(asyncio.Event())
        conversing = device.converse(packets, busy[-1])
        tasks.append(group.create_task(conversing, name=f"conversation {number}"))
        await asyncio.sleep(SPREAD_S)
    for event in busy:
        await event.wait()
    return tasks


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _tell(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
