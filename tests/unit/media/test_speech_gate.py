"""Detector and gate together, on people's voices and on rooms nobody speaks in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.media.gate import GateOpened
from schemas.audio import CHUNK_SAMPLES, SPEECH_RATE
from tests.unit.media import sounds

BESIDE = 3 * SPEECH_RATE
Room = Callable[[float, float], sounds.Samples]


def placed(recording: sounds.Samples, gain: float = 1.0) -> sounds.Samples:
    return np.concatenate(
        (
            np.zeros(BESIDE, np.int16),
            sounds.to_samples(recording.astype(np.float64) * gain),
            np.zeros(BESIDE, np.int16),
        )
    )


def over(room: Room, dbfs: float, samples: sounds.Samples) -> sounds.Samples:
    around = room(samples.size / SPEECH_RATE, dbfs)[: samples.size]
    return sounds.to_samples(samples.astype(np.float64) + around)


def light_noise(seconds: float, dbfs: float) -> sounds.Samples:
    return sounds.noise(seconds, dbfs, seed=7)


def assert_passes_whole(recording: sounds.Samples, heard: sounds.Samples) -> None:
    """Nothing is missing inside, and what is outside is the recording's own silence."""
    events, _ = sounds.run_gate(heard)
    chunks = recording.reshape(-1, CHUNK_SAMPLES).astype(np.float64)
    energy = (chunks**2).mean(axis=1)
    first = BESIDE // CHUNK_SAMPLES
    passed = sounds.passed_chunks(events, heard.size // CHUNK_SAMPLES)
    inside = passed[first : first + energy.size]

    assert inside.any()
    assert energy[inside].sum() >= 0.998 * energy.sum()
    begin, end = np.flatnonzero(inside)[[0, -1]]
    assert inside[begin:end].all()
    # 25 dB beneath the loudest chunk there is breath and room, no phoneme.
    assert (energy[~inside] < energy.max() / 10**2.5).all()
    # No more than pre-roll and hang-over stick out of it.
    assert passed.sum() - inside.sum() <= (15 + 3) + 12


@pytest.mark.parametrize("path", sounds.recordings(), ids=lambda path: path.name)
def test_a_persons_recording_passes_whole_from_the_first_phoneme(path: Path) -> None:
    recording = sounds.load(path)

    assert_passes_whole(recording, placed(recording))
    assert_passes_whole(recording, over(light_noise, sounds.LIGHT_NOISE_DBFS, placed(recording)))


@pytest.mark.parametrize(
    ("room", "dbfs"), [(sounds.hum, -35.0), (sounds.fan, -35.0)], ids=["hum", "fan"]
)
def test_speech_over_hum_and_fan_still_passes_whole(room: Room, dbfs: float) -> None:
    for path in sounds.recordings():
        recording = sounds.load(path)
        events, _ = sounds.run_gate(over(room, dbfs, placed(recording)))
        first = BESIDE // CHUNK_SAMPLES
        energy = (recording.reshape(-1, CHUNK_SAMPLES).astype(np.float64) ** 2).mean(axis=1)
        passed = sounds.passed_chunks(events, first * 2 + energy.size)
        assert energy[passed[first:-first]].sum() >= 0.998 * energy.sum(), path.name


def test_a_soft_voice_passes_whole_too() -> None:
    for path in sounds.recordings():
        recording = sounds.load(path)
        soft = over(light_noise, -66.0, placed(recording, gain=0.1))
        events, _ = sounds.run_gate(soft)
        first = BESIDE // CHUNK_SAMPLES
        energy = (recording.reshape(-1, CHUNK_SAMPLES).astype(np.float64) ** 2).mean(axis=1)
        passed = sounds.passed_chunks(events, first * 2 + energy.size)
        assert energy[passed[first:-first]].sum() >= 0.998 * energy.sum(), path.name


@pytest.mark.parametrize(
    "room",
    [
        sounds.hum,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (sounds.fan, sounds.chord)),
    ],
)
def test_ten_minutes_of_a_loud_room_keep_the_gate_shut(room: Room) -> None:
    samples = room(600, sounds.FAN_AND_HUM_DBFS)
    events, gate = sounds.run_gate(samples)
    passed = sounds.passed_chunks(events, samples.size // CHUNK_SAMPLES)

    assert passed.mean() <= 0.05
    assert not gate.always_open


@pytest.mark.parametrize("dbfs", [-66.0, -45.0, -30.0])
def test_a_minute_of_plain_noise_at_any_level_opens_nothing(dbfs: float) -> None:
    events, gate = sounds.run_gate(light_noise(60, dbfs))

    assert not any(isinstance(event, GateOpened) for event in events)
    assert gate.duty_cycle == 0
