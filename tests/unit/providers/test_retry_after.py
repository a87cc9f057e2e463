"""`Retry-After` as servers send it."""

from datetime import UTC, datetime

import pytest

from workers.providers.retry_after import read_retry_after

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LATER = "Sun, 22 Nov 2026 12:00:30 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        (LATER, 30),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 30),
        ("Sun Nov 22 12:00:30 2026", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("999999999", 86_400),
        ("Sun, 22 Nov 2126 12:00:00 GMT", 86_400),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 4_000, 86_400),
        ("Sun, 99 Nov 2026 99:99:99 GMT", None),
        ("\x00", None),
    ],
)
def test_seconds_and_dates_are_read_and_nonsense_is_none(
    value: str | None, seconds: float | None
) -> None:
    assert read_retry_after(value, None, NOW) == seconds


def test_a_date_counts_from_the_servers_own_clock() -> None:
    assert read_retry_after(LATER, "Sun, 22 Nov 2026 12:00:20 GMT", NOW) == 10
    assert read_retry_after(LATER, "no date", NOW) == 30
