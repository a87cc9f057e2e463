"""What a device takes and sends: the real program, first in a quiet room, then with a talker.

The device gets one recording: a room's noise at -55 dBFS, then speech without long pauses. The
first RTP packet divides the two windows. Memory is taken from a second run with a short question,
because the long recording itself fills some.
"""

import json
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure, NotMeasuredError
from bench.model import MARK
from bench.speech import story, utterances
from bench.systems import measured_system
from schemas.audio import SPEECH_RATE
from tests.servers.system import System, clean_environment

QUIET_S, QUICK_QUIET_S = 30, 12
SETTLE_S = 4.0
"""The first seconds go into loading, connecting and the greeting, and into no window."""
EDGE_S = 1.0
"""What happens this close to the change of windows belongs to neither."""
ROOM_NOISE = 58.0
"""Standard deviation of the room's noise: -55 dBFS."""
TALK_S = 120.0


@dataclass(frozen=True)
class Sample:
    """What the process had taken and sent at a moment."""

    at: float
    cpu_s: float
    memory: int
    datagrams: int
    rtp: int
    wire_bytes: int


@dataclass(frozen=True)
class Window:
    """What happened between two samples."""

    first: Sample
    last: Sample

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.last.at - self.first.at

    @property
    def cpu(self) -> float:
        """Percent of a core."""
        return 100 * (self.last.cpu_s - self.first.cpu_s) / self.seconds

    @property
    def kilobits(self) -> float:
        """Kilobits a second on the wire, IP headers included."""
        return 8 * (self.last.wire_bytes - self.first.wire_bytes) / self.seconds / 1000


def run(*, quick: bool) -> list[Figure]:
    """Return the device's CPU, memory and what it sends in silence."""
    with measured_system() as system, tempfile.TemporaryDirectory(prefix="ew-bench-") as folder:
        recording = Path(folder) / "quiet-then-speech.wav"
        write_wav(recording, quiet_then_speech(QUICK_QUIET_S if quick else QUIET_S))
        samples = _talk(system, recording, Path(folder) / "samples")
        question = Path(folder) / "question.wav"
        write_wav(question, utterances()[0].samples)
        memory = max(s.memory for s in _talk(system, question, Path(folder) / "samples"))
    quiet, speaking = windows(samples)
    return [
        Figure("device CPU, silent", quiet.cpu, "% of a core", 3, note=f"{quiet.seconds:.0f} s"),
        Figure(
            "device CPU, speaking", speaking.cpu, "% of a core", 8, note=f"{speaking.seconds:.0f} s"
        ),
        Figure("device memory", memory / 1e6, "MB", 120, note="resident, the most in a talk"),
        Figure("RTP packets of a silent device", quiet.last.rtp - quiet.first.rtp, "packets", 0),
        Figure(
            "what a silent device sends, in all",
            quiet.kilobits,
            "kbit/s",
            1,
            note=f"{quiet.last.datagrams - quiet.first.datagrams} datagrams in "
            f"{quiet.seconds:.0f} s, with UDP and IP headers",
        ),
    ]


def windows(samples: list[Sample]) -> tuple[Window, Window]:
    """Return the silent and the speaking window; raises NotMeasuredError where one is missing."""
    sending = [index for index, sample in enumerate(samples) if sample.rtp]
    if not sending:
        raise NotMeasuredError("the device never sent speech")
    first_rtp = samples[sending[0]].at
    last_rtp = next(s.at for s in samples if s.rtp == samples[-1].rtp)
    began = samples[0].at + SETTLE_S
    return (
        _between(samples, began, first_rtp - EDGE_S),
        _between(samples, first_rtp + EDGE_S, last_rtp - EDGE_S),
    )


def _between(samples: list[Sample], began: float, ended: float) -> Window:
    inside = [sample for sample in samples if began <= sample.at <= ended]
    if len(inside) < 2:  # noqa: PLR2004  # a window has a beginning and an end
        raise NotMeasuredError("a window of the device's run is empty")
    return Window(inside[0], inside[-1])


def _talk(system: System, recording: Path, file: Path) -> list[Sample]:
    agent_id = system.agent(system_prompt=f"{MARK}All right.")
    command = [sys.executable, "-m", "bench.device_process", str(file), "talk", "--json"]
    options = ["--server", system.url, "--agent", agent_id, "--wav", str(recording)]
    done = subprocess.run(
        [*command, *options],
        env=clean_environment(EDGEWISE_API_KEY=system.api_key),
        capture_output=True,
        timeout=TALK_S,
        check=False,
    )
    if done.returncode:
        said = done.stdout.decode() + done.stderr.decode()
        raise NotMeasuredError(f"the device did not get its answer:\n{said[-2_000:]}")
    return [Sample(**json.loads(line)) for line in file.read_text().splitlines()]


def quiet_then_speech(quiet_s: float) -> NDArray[np.int16]:
    """Return 16 kHz mono: this many seconds of a quiet room, then about 22 s of speech in it."""
    speech = np.pad(story().samples, (round(quiet_s * SPEECH_RATE), SPEECH_RATE))
    noise = np.random.default_rng(2).normal(0, ROOM_NOISE, speech.size)
    return np.clip(speech + noise, -32_768, 32_767).astype(np.int16)


def write_wav(file: Path, samples: NDArray[np.int16]) -> None:
    """Write 16 kHz mono samples."""
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(SPEECH_RATE)
        stream.writeframes(samples.tobytes())
