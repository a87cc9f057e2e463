import os
import subprocess
import sys

import numpy as np
import pytest
import webrtcvad

from edge.media.detector import SpeechDetector
from schemas.audio import CHUNK_SAMPLES
from tests.unit.media import sounds

# Loads the detector, lets Silero work, and prints the threads it has before and after.
COUNT_THREADS = """
import os
import numpy as np
from edge.media.detector import SpeechDetector
detector = SpeechDetector()
before = len(os.listdir("/proc/self/task"))
tone = (np.sin(np.arange(320) * 0.1) * 9000).astype(np.int16)
for _ in range(50):
    detector.is_speech(tone)
print(before, len(os.listdir("/proc/self/task")), os.environ.get("OMP_THREAD_LIMIT"))
"""


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros(CHUNK_SAMPLES - 1, np.int16),
        np.zeros((CHUNK_SAMPLES, 1), np.int16),
        np.zeros(CHUNK_SAMPLES, np.float32),
    ],
)
def test_what_is_no_chunk_is_refused(chunk: np.ndarray) -> None:
    with pytest.raises(ValueError, match="chunk"):
        SpeechDetector().is_speech(chunk)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        SpeechDetector(threshold)


def test_a_reset_detector_judges_as_a_new_one() -> None:
    speech = sounds.load(sounds.recordings()[0]).reshape(-1, CHUNK_SAMPLES)
    used, new = SpeechDetector(), SpeechDetector()
    for chunk in sounds.noise(1, -20, seed=5).reshape(-1, CHUNK_SAMPLES):
        used.is_speech(chunk)
    used.reset()

    assert [used.is_speech(chunk) for chunk in speech] == [new.is_speech(c) for c in speech]


def test_a_higher_threshold_hears_less() -> None:
    speech = sounds.load(sounds.POCKETSPHINX / "goforward.raw").reshape(-1, CHUNK_SAMPLES)
    heard = []
    for threshold in (0.0, 0.5, 1.0):
        detector = SpeechDetector(threshold)
        heard.append(sum(detector.is_speech(chunk) for chunk in speech))

    assert heard[0] >= heard[1] > heard[2]


def test_full_scale_square_waves_and_the_lowest_sample_are_survived() -> None:
    detector = SpeechDetector()
    for value in (-32_768, 32_767):
        detector.is_speech(np.full(CHUNK_SAMPLES, value, np.int16))


def test_silero_works_on_the_calling_thread_alone_and_leaves_the_environment_as_it_was() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    before, after, limit = done.stdout.split()

    assert before == after
    assert limit == "None"


def test_webrtcvad_alone_takes_hum_and_fan_for_speech() -> None:
    """The reason for the second stage; without it the tests on rooms would prove nothing."""
    for room in (sounds.hum, sounds.fan):
        alone = webrtcvad.Vad(3)
        chunks = room(20, sounds.FAN_AND_HUM_DBFS).reshape(-1, CHUNK_SAMPLES)
        assert np.mean([alone.is_speech(chunk.tobytes(), 16_000) for chunk in chunks]) > 0.9
