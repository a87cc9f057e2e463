"""Recordings as they come from elsewhere: other rates, widths, channels, and no speech at all."""

import subprocess
from pathlib import Path

import numpy as np

from tests.acceptance.recordings import RATE, write_wav


def _sox(source: Path, target: Path, *how: str) -> Path:
    subprocess.run(["sox", str(source), *how, str(target)], check=True, timeout=20)
    return target


def pcm24_stereo_44100(source: Path, folder: Path) -> Path:
    """Return the recording as 24-bit stereo at 44.1 kHz."""
    return _sox(source, folder / "studio.wav", "-r", "44100", "-b", "24", "-c", "2")


def u8_8000(source: Path, folder: Path) -> Path:
    """Return the recording as unsigned 8-bit at 8 kHz, as from an old telephone."""
    return _sox(source, folder / "phone.wav", "-r", "8000", "-b", "8", "-e", "unsigned")


def float_48000(source: Path, folder: Path) -> Path:
    """Return the recording as 32-bit floating point at 48 kHz."""
    how = ("-r", "48000", "-b", "32", "-e", "floating-point")
    return _sox(source, folder / "float.wav", *how)


def silence(folder: Path) -> Path:
    """Return three seconds of nothing."""
    return write_wav(folder / "silence.wav", np.zeros(3 * RATE, dtype=np.int16))


def white_noise(folder: Path) -> Path:
    """Return three seconds of white noise at -20 dBFS."""
    noise = np.random.default_rng(7).normal(0, 3_277, 3 * RATE)
    return write_wav(folder / "noise.wav", noise.clip(-32_768, 32_767).astype(np.int16))
