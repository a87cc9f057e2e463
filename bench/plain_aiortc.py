"""Full-duplex sessions of plain aiortc, to compare with: frames in, frames out, its own codecs.

`python -m bench.plain_aiortc COUNT` makes the offers and starts the other side, the process that
is measured, with `--server`. `{"server": pid}` says that all are connected; after the line
`speak` both sides send noise as frames and decode what comes.
"""

import asyncio
import json
import os
import sys
import time
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole

from bench.child import child

RATE = 48_000
FRAME = RATE // 50


class Noise(MediaStreamTrack):
    """A stereo 48 kHz source that is silent until `speaking`, then noise in real time."""

    kind = "audio"

    def __init__(self, speaking: asyncio.Event) -> None:
        super().__init__()
        self._speaking = speaking
        self._samples = np.random.default_rng(5).normal(0, 3_000, (1, FRAME)).astype(np.int16)
        self._began: float | None = None
        self._frames = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next 20 ms when they are due."""
        await self._speaking.wait()
        if self._began is None:
            self._began = time.monotonic()
        due = self._began + self._frames * FRAME / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = av.AudioFrame.from_ndarray(self._samples, format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = self._frames * FRAME
        frame.time_base = Fraction(1, RATE)
        self._frames += 1
        return frame


async def connection(speaking: asyncio.Event) -> RTCPeerConnection:
    """Return a connection that sends noise and decodes and drops what it gets."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTrack(Noise(speaking))
    sink = MediaBlackhole()

    def on_track(track: MediaStreamTrack) -> None:
        sink.addTrack(track)
        sinking.append(asyncio.create_task(sink.start(), name="sink"))

    sinking: list[asyncio.Task[None]] = []
    pc.on("track", on_track)
    return pc


async def connected(pc: RTCPeerConnection) -> None:
    """Return once the connection is up."""
    is_up = asyncio.Event()

    def look() -> None:
        if pc.connectionState == "connected":
            is_up.set()

    pc.on("connectionstatechange", look)
    look()
    await is_up.wait()


async def offer(count: int) -> None:
    """Be the devices."""
    speaking = asyncio.Event()
    with child("bench.plain_aiortc", "--server") as server:
        connections = []
        for _ in range(count):
            pc = await connection(speaking)
            connections.append(pc)
            await pc.setLocalDescription(await pc.createOffer())
            line = json.dumps({"sdp": pc.localDescription.sdp})
            answer = await asyncio.to_thread(server.ask, line)
            await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            await connected(pc)
        _tell(server=server.process.pid)
        if await asyncio.to_thread(sys.stdin.readline):
            await asyncio.to_thread(server.ask, json.dumps({"speak": True}))
            speaking.set()
            _tell(busy=count)
            await asyncio.to_thread(sys.stdin.readline)
        for pc in connections:
            await pc.close()


async def answer() -> None:
    """Be the server: answer an offer a line, speak when told, end with the input."""
    speaking = asyncio.Event()
    connections = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        said = json.loads(line)
        if said.get("speak"):
            speaking.set()
            _tell(pid=os.getpid())
            continue
        pc = await connection(speaking)
        connections.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(said["sdp"], "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        _tell(sdp=pc.localDescription.sdp)
    for pc in connections:
        await pc.close()


def _tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(answer() if sys.argv[1] == "--server" else offer(int(sys.argv[1])))
