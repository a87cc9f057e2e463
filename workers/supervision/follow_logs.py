"""Reads along in the logs of the parts: what went wrong is shown, what grew too long is cut."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

LONGEST_LOG = 20_000_000
"""A log beyond this many bytes becomes `….log.1`, which replaces the one before."""
READ_AT_ONCE = 1_000_000
SHOWN = {"error", "critical"}


def error_line(part: str, line: str) -> str | None:
    """Return what to show of one log line; None where it is no error."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in SHOWN:
        return None
    reason = entry.get("error")
    return f"{part}: {str(entry.get('event'))[:300]}" + (
        f" ({str(reason)[:200]})" if reason else ""
    )


class LogFollower:
    """Follows every log in a folder from where it ends now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_to = {log: log.stat().st_size for log in folder.glob("*.log")}

    def new_errors(self) -> list[str]:
        """Return what went wrong since the last call, one line each, and shorten long logs."""
        return [line for log in sorted(self._folder.glob("*.log")) for line in self._news(log)]

    def _news(self, log: Path) -> Iterator[str]:
        size, start = log.stat().st_size, self._read_to.get(log, 0)
        start = start if start <= size else 0
        with log.open("rb") as stream:
            stream.seek(max(start, size - READ_AT_ONCE))
            news = stream.read(READ_AT_ONCE)
        whole = news.rfind(b"\n") + 1
        self._read_to[log] = size - len(news) + whole if news else size
        for line in news[:whole].splitlines():
            shown = error_line(log.stem, line.decode(errors="replace"))
            if shown:
                yield shown
        if size > LONGEST_LOG:
            self._shorten(log)

    def _shorten(self, log: Path) -> None:
        # The part holds the file open for appending, so it is emptied, not replaced.
        shutil.copyfile(log, log.with_suffix(".log.1"))
        log.open("wb").close()
        self._read_to[log] = 0
