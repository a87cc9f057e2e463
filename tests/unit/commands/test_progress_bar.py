"""What `edgewise apply` shows while it waits: a bar on a terminal, nothing where there is none."""

import contextlib
import os
import pty
import subprocess
import sys

from tests.servers.system import clean_environment

SCRIPT = """
import httpx
from workers.commands.accepted_batch import outcome_of

dones = iter([0, 50, 50, 100])

def answer(request):
    done = next(dones)
    status = "done" if done == 100 else "running"
    return httpx.Response(200, json={"status": status, "total": 100, "done": done, "failed": 0})

with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://gateway") as client:
    batch, errors = outcome_of(client, "batch_1")
print("all", batch["done"])
"""
"""Follows a batch at a scripted gateway, as the command does."""


def followed(ours: int, theirs: int) -> tuple[str, str]:
    """Run it with `theirs` for standard error; return what it wrote there, and on standard output.

    It is read meanwhile: a terminal holds little.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=clean_environment(TERM="xterm", COLUMNS="80"),
        text=True,
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    return shown.decode(), said


def test_on_a_terminal_the_bar_moves_and_is_gone_at_the_end() -> None:
    shown, said = followed(*pty.openpty())
    assert said == "all 100\n"
    assert "applying" in shown
    assert "50%" in shown
    assert shown.endswith("\x1b[2K"), "the line is cleared"


def test_without_a_terminal_nothing_is_shown() -> None:
    shown, said = followed(*os.pipe())
    assert said == "all 100\n"
    assert shown.strip() == ""
