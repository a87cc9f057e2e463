"""Speech recorded by people, from Debian's `pocketsphinx-testdata` and `alsa-utils`."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPHINX = Path("/usr/share/pocketsphinx/test/data")
ALSA = Path("/usr/share/sounds/alsa")
RATE = 16_000
CARDS = SPHINX / "cards"
BOOK = SPHINX / "librivox"

UNDERSTOOD: dict[Path, str] = {
    SPHINX / "goforward.raw": "go forward ten meters",
    SPHINX / "tidigits" / "dhd.2934z.raw": "two nine three four zero",
    CARDS / "004.wav": "five five",
    CARDS / "001.wav": "ten of clubs",
    CARDS / "003.wav": "seven of clubs",
    ALSA / "Front_Center.wav": "front center",
    ALSA / "Front_Left.wav": "front left",
    ALSA / "Front_Right.wav": "front right",
}
"""What the built-in engine gets right, word for word, from the microphone to the transcript."""

HALF_UNDERSTOOD: dict[Path, str] = {
    SPHINX / "something.raw": "go somewhere and do something",
    CARDS / "005.wav": "eight of spades four of clubs seven of hearts",
    ALSA / "Side_Right.wav": "side right",
    BOOK / "sense_and_sensibility_01_austen_64kb-0920.wav": (
        "had he married a more amiable woman "
        "he might have been made still more respectable than he was"
    ),
}
"""What it gets right in part: at least half of these words, in any order."""


def as_wav(recording: Path, folder: Path) -> Path:
    """Return the recording as a WAV file; a `.raw` one is 16 kHz mono 16-bit without a header."""
    if recording.suffix == ".wav":
        return recording
    return write_wav(folder / f"{recording.stem}.wav", np.fromfile(recording, dtype="<i2"))


def write_wav(file: Path, samples: NDArray[np.int16], rate: int = RATE) -> Path:
    """Write 16-bit samples, mono or as rows of channels, and return the file."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file


def read_wav(file: Path) -> tuple[NDArray[np.int16], int]:
    """Return a 16-bit WAV file's first channel and its rate."""
    with wave.open(str(file), "rb") as source:
        assert source.getsampwidth() == 2
        samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
        return samples.reshape(-1, source.getnchannels())[:, 0], source.getframerate()
