"""A process of the bench's own that is talked to in lines."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Any

from bench.figure import NotMeasuredError

ANSWER_S = 60.0
END_S = 15.0


class Child:
    """A running `python -m module`: lines in, JSON objects out."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._answers: Queue[str] = Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"EDGEWISE_LOG_LEVEL": "WARNING"},
        )
        threading.Thread(target=self._read, name=f"read {module}", daemon=True).start()

    def ask(self, line: str = "") -> dict[str, Any]:
        """Send a line, if there is one, and return the next object; NotMeasuredError in 60 s."""
        if line:
            assert self.process.stdin is not None  # noqa: S101  # asked for above
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        try:
            answer = self._answers.get(timeout=ANSWER_S)
        except Empty:
            raise NotMeasuredError(f"{self._module} said nothing for {ANSWER_S:g} s") from None
        if not answer:
            raise NotMeasuredError(f"{self._module} ended early; its errors are above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def end(self) -> None:
        """Close its input, which ends it; kill it if that does not."""
        assert self.process.stdin is not None  # noqa: S101  # asked for above
        self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101  # asked for above
        for line in self.process.stdout:
            if line.startswith("{"):
                self._answers.put(line)
        self._answers.put("")
        self.process.stdout.close()


@contextmanager
def child(module: str, *arguments: str) -> Iterator[Child]:
    """Run `python -m module`, and end it."""
    running = Child(module, *arguments)
    try:
        yield running
    finally:
        running.end()
