"""When a message is sent again: pure, so that three days take no time to test."""

from datetime import datetime, timedelta
from typing import Final

FIRST: Final = timedelta(seconds=5)
FACTOR: Final = 4
LONGEST: Final = timedelta(hours=6)
JITTER: Final = 0.2
"""The share by which a pause is longer or shorter, so that what failed at once comes apart."""


def next_attempt(
    attempts: int,
    now: datetime,
    gives_up_at: datetime,
    *,
    chance: float,
    asked: timedelta | None = None,
) -> datetime | None:
    """Return when to try again after so many attempts; None once it is time to give up.

    About 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 6 h and then every 6 h. `chance` is from 0 to 1;
    `asked` is how long the receiver wants to be left alone, of which 6 h are believed. The last
    attempt is just before the end.
    """
    if now >= gives_up_at:
        return None
    longer = float(FACTOR) ** min(attempts - 1, 20)
    pause = min(FIRST * longer, LONGEST) * (1 + JITTER * (2 * chance - 1))
    if asked is not None:
        pause = max(pause, min(asked, LONGEST))
    return min(now + pause, gives_up_at)
