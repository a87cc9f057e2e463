"""The reply as a file: what the user would have heard, 16-bit mono."""

import wave
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import BadInputError
from edge.settings import REPLY_RATE


class WavSink:
    """A WAV file that grows frame by frame; a context manager that leaves a valid file behind."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = wave.open(str(path), "wb")  # noqa: SIM115  # closed by __exit__
        except OSError as error:
            raise BadInputError(f"{path}: cannot be written ({error.strerror}).") from error
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(REPLY_RATE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append 48 kHz mono samples."""
        self._file.writeframesraw(samples.astype("<i2", copy=False).tobytes())
