"""Decides which 20 ms items of a microphone's stream go out. Pure: no clock, no audio."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from schemas.audio import PACKET_MS

T = TypeVar("T")

_MINUTE: Final = 60_000 // PACKET_MS
_STUCK: Final = 30_000 // PACKET_MS


@dataclass(frozen=True, slots=True)
class GateOpened:
    """Speech has begun; `pre_roll_ms` of what came before it goes out first."""

    pre_roll_ms: float


@dataclass(frozen=True, slots=True)
class GateClosed:
    """Speech ended `silence_ms` ago."""

    silence_ms: float


@dataclass(frozen=True, slots=True)
class Passed(Generic[T]):
    """An item goes out; `index` counts the 20 ms items since the start, passed or not."""

    item: T
    index: int


class Gate(Generic[T]):
    """Passes speech with what led up to it and what follows it, and nothing else.

    `detector_lag_ms` is how long the detector goes on after the last sound: it counts as silence.
    """

    def __init__(
        self,
        *,
        pre_roll_ms: int = 300,
        hang_over_ms: int = 200,
        onset_ms: int = 60,
        detector_lag_ms: int = 0,
    ) -> None:
        if pre_roll_ms < 0 or hang_over_ms < PACKET_MS or onset_ms < PACKET_MS:
            raise ValueError(f"hang-over and onset last {PACKET_MS} ms or more, pre-roll 0 or more")
        self._onset = onset_ms // PACKET_MS
        self._hang_over = hang_over_ms // PACKET_MS
        self._lag_ms = detector_lag_ms
        self._held: deque[Passed[T]] = deque(maxlen=pre_roll_ms // PACKET_MS + self._onset)
        self._next_index = 0
        self._speech_run = 0
        self._silence_run = 0
        self._open_run = 0
        self._history: deque[bool] = deque(maxlen=_MINUTE)
        self._open_in_history = 0
        self.is_open = False

    def push(self, item: T, *, speech: bool) -> list[GateOpened | GateClosed | Passed[T]]:
        """Return what the next 20 ms lead to, in order; an item is passed once at most."""
        passed = Passed(item, self._next_index)
        self._next_index += 1
        self._speech_run = self._speech_run + 1 if speech else 0
        self._silence_run = 0 if speech else self._silence_run + 1
        events = self._while_open(passed) if self.is_open else self._while_shut(passed)
        self._note_duty()
        return events

    @property
    def duty_cycle(self) -> float:
        """Share of the last minute (or of what there was of it) that the gate stood open."""
        return self._open_in_history / len(self._history) if self._history else 0.0

    @property
    def always_open(self) -> bool:
        """Whether the gate has not closed for 30 s: noise that passes for speech, most likely."""
        return self._open_run >= _STUCK

    def _while_shut(self, passed: Passed[T]) -> list[GateOpened | GateClosed | Passed[T]]:
        self._held.append(passed)
        if self._speech_run < self._onset:
            return []
        self.is_open = True
        held = list(self._held)
        self._held.clear()
        return [GateOpened((len(held) - self._onset) * PACKET_MS), *held]

    def _while_open(self, passed: Passed[T]) -> list[GateOpened | GateClosed | Passed[T]]:
        if self._silence_run < self._hang_over:
            return [passed]
        self.is_open = False
        return [passed, GateClosed(self._silence_run * PACKET_MS + self._lag_ms)]

    def _note_duty(self) -> None:
        if len(self._history) == _MINUTE:
            self._open_in_history -= self._history[0]
        self._history.append(self.is_open)
        self._open_in_history += self.is_open
        self._open_run = self._open_run + 1 if self.is_open else 0
