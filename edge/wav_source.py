"""Speech from an audio file: any container, rate, sample format and channel count FFmpeg reads."""

from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from edge.errors import BadInputError
from schemas.audio import SPEECH_RATE

LONGEST_S: Final = 600
"""A recording may last ten minutes; more is not one utterance and would fill the memory."""


def read_speech(path: Path) -> NDArray[np.int16]:
    """Return the file's first audio stream as 16 kHz mono 16-bit; raises BadInputError."""
    if not path.is_file():
        raise BadInputError(f"{path}: there is no such file; check the name.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise BadInputError(f"{path}: holds no audio; pass a recording such as a WAV file.")
            return _decode(path, container)
    except (av.FFmpegError, ValueError) as error:
        raise BadInputError(
            f"{path}: not an audio file that can be read ({type(error).__name__}); "
            "pass a recording such as a WAV file."
        ) from error


def _decode(path: Path, container: "av.container.InputContainer") -> NDArray[np.int16]:
    resampler = AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE)
    pieces: list[NDArray[np.int16]] = []
    samples = 0
    for frame in container.decode(audio=0):
        for piece in resampler.resample(frame):
            pieces.append(piece.to_ndarray().reshape(-1).astype(np.int16, copy=False))
            samples += piece.samples
        if samples > LONGEST_S * SPEECH_RATE:
            raise BadInputError(f"{path}: longer than {LONGEST_S // 60} minutes; cut it.")
    pieces.extend(
        piece.to_ndarray().reshape(-1).astype(np.int16, copy=False)
        for piece in resampler.resample(None)
    )
    if not pieces:
        raise BadInputError(f"{path}: the audio is empty; record it again.")
    return np.concatenate(pieces)
