"""Installs the project into this environment: `pip_install.py product|developer`.

pip's own words go to .venv/pip.log; what is shown is one line that moves (or one line every
few packages where there is no terminal). Knows only what a pip of 2023 knows: the developer's
tools are read from pyproject.toml here.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOG = Path(sys.prefix) / "pip.log"
SHOWN = ("Collecting", "Downloading", "Building", "Preparing", "Installing", "Obtaining", "Using")
EVERY_S = 3.0
TAIL = 30


def wanted(who: str) -> list[str]:
    """Return what pip is asked to install for a user of the product or for a developer."""
    packages = ["--editable", f"{ROOT}[edge,workers,postgres]"]
    if who == "developer":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        packages += project["dependency-groups"]["dev"]
    return packages


def install(packages: list[str]) -> int:
    """Run pip, show that it lives, return its exit code."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += [
        "--no-input",
        "--progress-bar",
        "off",
        "--constraint",
        str(ROOT / "constraints.txt"),
    ]
    began = time.monotonic()
    with (
        LOG.open("w") as log,
        subprocess.Popen(
            [*command, *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
    ):
        show = Progress(began)
        for line in pip.stdout or ():
            log.write(line)
            show.line(line.strip())
        code = pip.wait()
    show.end(code)
    return code


class Progress:
    """One line that moves on a terminal; elsewhere a line every three seconds."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._last_shown = began
        self._packages = 0
        self._moves = sys.stdout.isatty()

    def line(self, line: str) -> None:
        """Take up a line of pip."""
        if not line.startswith(SHOWN):
            return
        self._packages += line.startswith("Collecting")
        now = time.monotonic()
        if self._moves:
            sys.stdout.write(f"\r\033[K  {now - self._began:3.0f} s  {line[:70]}")
        elif now - self._last_shown > EVERY_S or line.startswith("Installing"):
            self._last_shown = now
            sys.stdout.write(f"  {now - self._began:3.0f} s  {line[:70]}\n")
        sys.stdout.flush()

    def end(self, code: int) -> None:
        """Say how it went; on failure with the end of pip's own words."""
        if self._moves:
            sys.stdout.write("\r\033[K")
        seconds = time.monotonic() - self._began
        if code:
            tail = "\n".join(LOG.read_text().splitlines()[-TAIL:])
            sys.stdout.write(f"{tail}\npip failed after {seconds:.0f} s; all of it: {LOG}\n")
        else:
            sys.stdout.write(f"installed in {seconds:.0f} s ({self._packages} packages were new)\n")


def main() -> int:
    """Install for who is named on the command line."""
    who = sys.argv[1]
    print(f"installing for a {who} (the first time this takes a minute or two)", flush=True)
    return install(wanted(who))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
