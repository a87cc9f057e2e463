"""PCM in and out of bytes: a WAV file to send, and a stream of speech cut anywhere. Pure."""

import io
import struct
import wave
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RIFF: Final = b"RIFF"
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
MAX_HEADER: Final = 4_096
"""Bytes before the samples, with all that a server writes about them."""
SAMPLE_BYTES: Final = 2
RATES: Final = range(8_000, 96_001)


class NotPcmError(ValueError):
    """The bytes are no 16-bit mono PCM; the message says what they are."""


def wav_file(pcm: bytes, rate: int) -> bytes:
    """Return 16-bit mono samples as a WAV file."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(SAMPLE_BYTES)
            writer.setframerate(rate)
            writer.writeframes(pcm)
        return file.getvalue()


class PcmStream:
    """Turns bytes, cut anywhere, into samples; a WAV header before them is read and dropped."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        """Of the samples, in hertz; a WAV header may change it before the first of them."""
        self._held = b""
        self._in_samples = False

    def feed(self, data: bytes) -> Samples:
        """Return the samples that are whole by now; raises NotPcmError."""
        self._held += data
        if not self._in_samples and not self._begin():
            return np.empty(0, np.int16)
        whole = len(self._held) - len(self._held) % SAMPLE_BYTES
        samples = np.frombuffer(self._held[:whole], "<i2").astype(np.int16)
        self._held = self._held[whole:]
        return samples

    def _begin(self) -> bool:
        """Tell whether the samples begin with what is held, passing over a header."""
        if len(self._held) < len(RIFF):
            return False
        if self._held.startswith((b"ID3", b"OggS", b"fLaC", b"<htm", b"<!DO", b"<!do")):
            raise NotPcmError("the audio is no PCM")
        if not self._held.startswith(RIFF):
            self._in_samples = True
            return True
        start = self._samples_at()
        if start is None and len(self._held) > MAX_HEADER:
            raise NotPcmError("the WAV file has no samples")
        if start is not None:
            self._held = self._held[start:]
            self._in_samples = True
        return self._in_samples

    def _samples_at(self) -> int | None:
        """Return where the samples of the WAV file begin, None while that is not known."""
        position = 12
        while position + _CHUNK.size <= len(self._held):
            kind, size = _CHUNK.unpack_from(self._held, position)
            position += _CHUNK.size
            if kind == b"data":
                return position
            if kind == b"fmt " and position + _FORMAT.size <= len(self._held):
                self._read_format(*_FORMAT.unpack_from(self._held, position))
            position += size + size % 2
        return None

    def _read_format(
        self, code: int, channels: int, rate: int, _per_s: int, _block: int, bits: int
    ) -> None:
        if code not in (_PCM, _EXTENSIBLE) or (channels, bits) != (1, 8 * SAMPLE_BYTES):
            raise NotPcmError("the WAV file is not 16-bit mono PCM")
        if rate not in RATES:
            raise NotPcmError("the WAV file has no rate of speech")
        self.rate = rate
