"""What a measurement yields: a value, what it should be, and whether it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict


class Entry(TypedDict):
    """A figure as `bench-results.json` holds it."""

    name: str
    value: float
    unit: str
    target: float
    bound: Literal["at most", "at least"]
    reached: bool
    note: str


@dataclass(frozen=True)
class Figure:
    """One measured value beside its target; `note` says what else the same run showed."""

    name: str
    value: float
    unit: str
    target: float
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the value keeps to its target."""
        if self.bound == "at most":
            return self.value <= self.target
        return self.value >= self.target

    def entry(self) -> Entry:
        """Return the figure as JSON holds it; the value is rounded to four digits."""
        return Entry(
            name=self.name,
            value=_four_digits(self.value),
            unit=self.unit,
            target=self.target,
            bound=self.bound,
            reached=self.reached,
            note=self.note,
        )


class NotMeasuredError(Exception):
    """A measurement could not be made; the message says what was in the way."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` (0 to 1) of them do not exceed.

    The nearest-rank percentile: always a value that was measured, never one in between.
    Raises NotMeasuredError where there are none.
    """
    if not values:
        raise NotMeasuredError("there are no values to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
