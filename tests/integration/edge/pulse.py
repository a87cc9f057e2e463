"""A sound card of the test's own: PulseAudio null sinks, reached by PortAudio through ALSA."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.integration.edge.scripted_gateway import until

EAR_RATE = 48_000
NEEDED = ("pulseaudio", "pacat", "parec")

ALSA = """
pcm.!default {{
  type asym
  playback.pcm {{ type pulse server "{server}" device "ear" }}
  capture.pcm {{ type pulse server "{server}" device "room.monitor" }}
}}
ctl.!default {{ type pulse server "{server}" }}
"""


@dataclass(frozen=True)
class Pulse:
    """A room whose sounds the device's microphone hears, and an ear at its speaker."""

    server: str
    environment: Mapping[str, str]

    async def say(self, speech: NDArray[np.int16]) -> None:
        """Play 16 kHz mono samples in the room, to the end."""
        process = await asyncio.create_subprocess_exec(
            "pacat",
            f"--server={self.server}",
            "--device=room",
            "--format=s16le",
            "--rate=16000",
            "--channels=1",
            "--latency-msec=20",
            stdin=asyncio.subprocess.PIPE,
            env=dict(self.environment),
        )
        async with asyncio.timeout(60):
            await process.communicate(speech.tobytes())

    @asynccontextmanager
    async def ear(self) -> AsyncIterator["Ear"]:
        """Listen to what the device's speaker plays."""
        process = await asyncio.create_subprocess_exec(
            "parec",
            f"--server={self.server}",
            "--device=ear.monitor",
            "--format=s16le",
            f"--rate={EAR_RATE}",
            "--channels=1",
            "--latency-msec=20",
            stdout=asyncio.subprocess.PIPE,
            env=dict(self.environment),
        )
        ear = Ear()
        reading = asyncio.create_task(ear.read(process))
        try:
            await until(lambda: ear.heard.size > 0)
            yield ear
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            await reading


class Ear:
    """What has been heard so far, 48 kHz mono."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def heard(self) -> NDArray[np.int16]:
        whole = len(self._data) - len(self._data) % 2
        return np.frombuffer(bytes(self._data[:whole]), dtype=np.int16)

    def loudness(self, last_s: float) -> int:
        """The peak of the last seconds."""
        return int(np.abs(self.heard[-int(last_s * EAR_RATE) :].astype(np.int32)).max(initial=0))

    def power_at(self, hertz: float, last_s: float) -> float:
        """Share of the sound's energy within 20 Hz of a frequency."""
        recent = self.heard[-int(last_s * EAR_RATE) :].astype(np.float64)
        spectrum = np.abs(np.fft.rfft(recent)) ** 2
        frequencies = np.fft.rfftfreq(len(recent), 1 / EAR_RATE)
        near = np.abs(frequencies - hertz) < 20
        return float(spectrum[near].sum() / (spectrum.sum() + 1e-9))

    async def read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(65_536):
            self._data += data


@asynccontextmanager
async def pulse_audio(folder: Path) -> AsyncIterator[Pulse]:
    """Start a PulseAudio daemon with a run-time folder of its own, and end it."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"{missing} missing: apt install pulseaudio pulseaudio-utils"
    socket = folder / "native"
    server = f"unix:{socket}"
    config = folder / "asound.conf"
    config.write_text(ALSA.format(server=server))
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_RUNTIME_PATH": str(folder),
        "PULSE_STATE_PATH": str(folder),
        "ALSA_CONFIG_PATH": str(config),
    }
    arguments = [
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--log-level=1",
    ]
    for module in (
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=room rate=16000 channels=1",
        "module-null-sink sink_name=ear rate=48000 channels=1",
    ):
        arguments += ["-L", module]
    daemon = await asyncio.create_subprocess_exec("pulseaudio", *arguments, env=environment)
    try:
        await until(lambda: socket.exists() or daemon.returncode is not None)
        assert daemon.returncode is None, "pulseaudio did not start"
        yield Pulse(server, environment)
    finally:
        with suppress(ProcessLookupError):
            daemon.terminate()
        await daemon.wait()
