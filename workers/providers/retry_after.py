"""The header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date. Pure."""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_S: Final = 86_400.0
_SECONDS: Final = re.compile(r"[0-9]+")


def read_retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Return how many seconds to wait, 0 to a day; None where nothing legible is said.

    A date counts from the answer's own `Date`, where it has one: clocks differ.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_S)
    at = _moment(text)
    if at is None:
        return None
    wait_s = (at - (_moment(date or "") or now)).total_seconds()
    return min(max(0.0, wait_s), LONGEST_S) if math.isfinite(wait_s) else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
