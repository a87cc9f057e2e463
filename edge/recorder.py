"""What the user would have heard, written as it sounds: replies, and the pauses within them."""

from typing import Final, Protocol

from edge.playout import SILENCE, Samples

LONGEST_PAUSE: Final = 100
"""Frames of silence kept between two sounds (2 s); the user's own turn is not part of the reply."""


class Sink(Protocol):
    """Where the samples go."""

    def write(self, samples: Samples) -> None:
        """Take 48 kHz mono samples."""
        ...


class Recorder:
    """Passes frames on; a silence is written once it turns out to lie between two sounds."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self._pause = 0
        self._begun = False

    def write(self, frame: Samples | None) -> None:
        """Take the next 20 ms; None is silence."""
        if self._sink is None:
            return
        if frame is None:
            self._pause += 1
            return
        if self._begun:
            for _ in range(min(self._pause, LONGEST_PAUSE)):
                self._sink.write(SILENCE)
        self._begun = True
        self._pause = 0
        self._sink.write(frame)
