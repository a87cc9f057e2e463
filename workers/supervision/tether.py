"""Runs a command that ends with the process that started it, kill -9 included.

Started by path and without site packages, so it costs some 20 ms: it asks the kernel for a
signal at the parent's death and becomes the command. Linux only; elsewhere it just becomes
the command. The kernel looks at the thread that starts it, so start it from a thread that
lives as long as the command should (`prctl(2)`, PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tethered(command: list[str], ends_with: signal.Signals) -> list[str]:
    """Return the command that runs `command` and sends it `ends_with` once this process is gone."""
    shim = [sys.executable, "-I", "-S", __file__]
    return [*shim, str(os.getpid()), str(int(ends_with)), *command]


def main(parent: str, ends_with: str, *command: str) -> None:
    """Become `command`, or exit with 1 where the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(ends_with), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  # an argument list of ours, no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
