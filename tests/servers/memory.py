"""How much memory this process took at most, whatever it took before."""

from pathlib import Path

import psutil


class Peak:
    """The highest resident size since it was made, in bytes above the size at that time."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM: proc(5)
        self._before: int = psutil.Process().memory_info().rss

    @property
    def rise(self) -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if "VmHWM" in line)
        return int(kilobytes) * 1024 - self._before
