"""Waiting for something outside of this process to come true."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_for(what: str, probe: Callable[[], Value | None], within: float = 10.0) -> Value:
    """Return the first true value of `probe`, asked every 10 ms; fails after `within` seconds."""
    until = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.01)
