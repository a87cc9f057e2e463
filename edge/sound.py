"""PortAudio, found and asked: which devices there are and what they can do."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from edge.errors import SoundError
from schemas.audio import PACKET_MS

Direction = Literal["input", "output"]

LATENCY_S: Final = 0.04
"""Asked of PortAudio: two chunks, which a busy Raspberry Pi holds without dropouts."""


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone or a speaker, or both."""

    index: int
    name: str
    inputs: int
    outputs: int
    default_rate: float
    is_default_input: bool
    is_default_output: bool


@dataclass(frozen=True, slots=True)
class Format:
    """How a device can be opened."""

    device: int
    name: str
    rate: int
    channels: int


def load_portaudio() -> Any:
    """Return the module sounddevice; raises SoundError where PortAudio is not installed."""
    try:
        return importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:
        raise SoundError(
            "PortAudio is missing; install it with `sudo apt install libportaudio2`."
        ) from error


@contextmanager
def as_sound_error(what: str) -> Iterator[None]:
    """Turn PortAudio's errors into a SoundError about `what`."""
    portaudio = load_portaudio()
    try:
        yield
    except (portaudio.PortAudioError, ValueError) as error:
        raise SoundError(
            f"{what} cannot be opened ({error}); is it plugged in and not in use? "
            "`edgewise-device devices` lists those there are."
        ) from error


def devices() -> list[Device]:
    """Return every device that PortAudio knows."""
    portaudio = load_portaudio()
    with as_sound_error("the sound system"):
        found = portaudio.query_devices()
        default_input, default_output = portaudio.default.device
    return [
        Device(
            index=index,
            name=str(entry["name"]),
            inputs=int(entry["max_input_channels"]),
            outputs=int(entry["max_output_channels"]),
            default_rate=float(entry["default_samplerate"]),
            is_default_input=index == default_input,
            is_default_output=index == default_output,
        )
        for index, entry in enumerate(found)
    ]


def find_format(direction: Direction, wanted: str | None, rate: int) -> Format:
    """Return a way to open the device, mono at `rate` if it can; raises SoundError."""
    portaudio = load_portaudio()
    what = "the microphone" if direction == "input" else "the speaker"
    device = _find_device(direction, wanted, what)
    check = (
        portaudio.check_input_settings if direction == "input" else portaudio.check_output_settings
    )
    last: Exception | None = None
    for candidate in (rate, 48_000, int(device.default_rate)):
        for channels in (1, 2):
            try:
                check(device=device.index, channels=channels, samplerate=candidate, dtype="int16")
            except (portaudio.PortAudioError, ValueError) as error:
                last = error
                continue
            return Format(device.index, device.name, candidate, channels)
    raise SoundError(
        f"{what} {device.name!r} can neither be opened in mono nor in stereo ({last}); "
        "is it in use? Choose another of those that `edgewise-device devices` lists."
    )


def open_stream(direction: Direction, found: Format, callback: Callable[..., None]) -> Any:
    """Return a started raw stream of 20 ms blocks, 16 bit, interleaved; raises SoundError.

    PortAudio calls `callback` on a thread of its own; see sounddevice's RawStream.
    """
    portaudio = load_portaudio()
    is_input = direction == "input"
    make = portaudio.RawInputStream if is_input else portaudio.RawOutputStream
    with as_sound_error(f"the {'microphone' if is_input else 'speaker'} {found.name!r}"):
        stream = make(
            samplerate=found.rate,
            blocksize=found.rate * PACKET_MS // 1000,
            device=found.device,
            channels=found.channels,
            dtype="int16",
            latency=LATENCY_S,
            callback=callback,
        )
        stream.start()
    return stream


def _find_device(direction: Direction, wanted: str | None, what: str) -> Device:
    able = [d for d in devices() if (d.inputs if direction == "input" else d.outputs) > 0]
    if not able:
        raise SoundError(
            f"{what}: this machine has none; plug one in, then see `edgewise-device devices`."
        )
    if wanted is None:
        named = [d for d in able if d.name == "default"]
        chosen = [
            d for d in able if (d.is_default_input if direction == "input" else d.is_default_output)
        ]
        return (chosen or named or able)[0]
    if wanted.isdecimal():
        matching = [d for d in able if d.index == int(wanted)]
    else:
        matching = [d for d in able if wanted.lower() in d.name.lower()]
        matching = [d for d in matching if d.name.lower() == wanted.lower()] or matching
    if not matching:
        raise SoundError(
            f"{what}: there is none called {wanted!r}; `edgewise-device devices` lists them."
        )
    return matching[0]
