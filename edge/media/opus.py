"""Mono speech as 20 ms Opus packets (RFC 6716), by way of PyAV's libopus."""

from collections.abc import Iterable
from typing import Any, Final

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from edge.media.resample import Resampler
from schemas.audio import MAX_PACKET_BYTES, OPUS_CLOCK, PACKET_MS, OpusForm

SPEECH: Final = OpusForm(bitrate=24_000, complexity=5)
"""6.3 ms of CPU for a second of speech; libopus' default complexity, 10, takes 7.2."""


class OpusEncoder:
    """Turns mono 16-bit samples of any amount into whole 20 ms Opus packets."""

    def __init__(self, sample_rate: int = 16_000, form: OpusForm = SPEECH) -> None:
        self._frame_samples = sample_rate * PACKET_MS // 1000
        self._rate = sample_rate
        self._position = 0
        self._rest: NDArray[np.int16] = np.empty(0, np.int16)
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = sample_rate
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.bit_rate = form.bitrate
        self._codec.options = {
            "application": form.application,
            "frame_duration": str(PACKET_MS),
            "compression_level": str(form.complexity),
        }

    def encode(self, samples: NDArray[np.int16]) -> list[bytes]:
        """Return the packets that `samples` complete; what is left waits for the next call."""
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise ValueError("samples must be one-dimensional 16-bit integers")
        self._rest = np.concatenate((self._rest, samples)) if self._rest.size else samples
        packets: list[bytes] = []
        size = self._frame_samples
        whole = self._rest.size - self._rest.size % size
        for start in range(0, whole, size):
            packets += self._encode_frame(self._rest[start : start + size])
        self._rest = self._rest[whole:].copy()
        return packets

    def flush(self) -> list[bytes]:
        """Return the packet that holds the remainder, padded with silence, if there is one."""
        if not self._rest.size:
            return []
        return self.encode(np.zeros(self._frame_samples - self._rest.size, np.int16))

    def _encode_frame(self, samples: NDArray[np.int16]) -> list[bytes]:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += samples.size
        return [bytes(packet) for packet in self._codec.encode(frame)]


class OpusDecoder:
    """Turns Opus packets, one at a time, into mono 16-bit samples at `sample_rate`."""

    def __init__(self, sample_rate: int = 16_000) -> None:
        self._rate = sample_rate
        self._last: NDArray[np.int16] = np.empty(0, np.int16)
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = OPUS_CLOCK
        self._resampler = Resampler(OPUS_CLOCK, sample_rate)

    def decode(self, packet: bytes) -> NDArray[np.int16]:
        """Return the samples of one packet; ValueError if it is empty, oversized or no Opus."""
        return self._resample([self._decode(packet)])

    def decode_all(self, packets: Iterable[bytes]) -> NDArray[np.int16]:
        """Return the samples of packets that follow each other; what is no Opus is concealed.

        They are resampled together: of three packets that takes half the time.
        """
        whole: list[NDArray[np.int16]] = []
        pieces: list[NDArray[Any]] = []
        for packet in packets:
            try:
                pieces.append(self._decode(packet))
            except ValueError:
                if pieces:
                    whole.append(self._resample(pieces))
                whole.append(self.conceal())
                pieces = []
        if pieces:
            whole.append(self._resample(pieces))
        return np.concatenate(whole) if whole else np.empty(0, np.int16)

    def _resample(self, pieces: list[NDArray[Any]]) -> NDArray[np.int16]:
        self._last = self._resampler.push(np.concatenate(pieces).astype(np.int16, copy=False))
        return self._last

    def _decode(self, packet: bytes) -> NDArray[Any]:
        """Return the samples of one packet as the codec has them, at 48 kHz."""
        if not 0 < len(packet) <= MAX_PACKET_BYTES:
            raise ValueError(f"an Opus packet has 1 to {MAX_PACKET_BYTES} bytes, not {len(packet)}")
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.error.FFmpegError as exc:
            raise ValueError("not an Opus packet") from exc
        pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
        if not pieces:
            raise ValueError("an Opus packet without audio")
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def conceal(self) -> NDArray[np.int16]:
        """Return 20 ms in place of a lost packet: an echo of the last one that fades to silence."""
        size = self._rate * PACKET_MS // 1000
        filler = np.zeros(size, np.int16)
        # Played backwards the echo starts where the audio broke off, so the seam does not click.
        echo = self._last[::-1][:size]
        if echo.size:
            filler[: echo.size] = echo * np.linspace(1.0, 0.0, echo.size)
        self._last = np.empty(0, np.int16)
        return filler
