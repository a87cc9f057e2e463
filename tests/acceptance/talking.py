"""Runs `edgewise-device talk` as a user does and reads what it says."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.system import System, clean_environment, command

DEADLINE_S = 75.0


@dataclass(frozen=True)
class Talk:
    """What a finished `talk` printed, and how it ended."""

    turns: list[dict[str, Any]]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def turn(self) -> dict[str, Any]:
        """The only turn."""
        assert len(self.turns) == 1, f"{len(self.turns)} turns\n{self}"
        return self.turns[0]

    def __str__(self) -> str:
        return f"exit code {self.code}\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"


class Talking:
    """A `talk` that runs: `finish()` waits for it."""

    def __init__(self, arguments: Sequence[str], api_key: str) -> None:
        self._began = time.monotonic()
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in finish()
        self.process = subprocess.Popen(
            [command("edgewise-device"), "talk", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=clean_environment(EDGEWISE_API_KEY=api_key),
            cwd=tempfile.gettempdir(),
        )

    def finish(self, within: float = DEADLINE_S) -> Talk:
        """Return what it said; kills it and fails when it hangs."""
        try:
            stdout, _ = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, _ = self.process.communicate()
            raise AssertionError(
                f"talk hung for {within:g} s\n{stdout}\n{self._stderr()}"
            ) from None
        seconds = time.monotonic() - self._began
        return Talk(_turns(stdout), self.process.returncode, stdout, self._stderr(), seconds)

    def _stderr(self) -> str:
        self._said.seek(0)
        said = self._said.read()
        self._said.close()
        return said


def _turns(stdout: str) -> list[dict[str, Any]]:
    found = []
    for line in stdout.splitlines():
        with suppress(json.JSONDecodeError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def start_talk(
    system: System, agent: str, *wavs: Path, out: Path | None = None, options: Sequence[str] = ()
) -> Talking:
    """Start a conversation of the device with this agent, one turn per recording."""
    arguments = ["--server", system.url, "--agent", agent, "--json", *options]
    for wav in wavs:
        arguments += ["--wav", str(wav)]
    if out is not None:
        arguments += ["--out", str(out)]
    return Talking(arguments, system.api_key)


def talk(
    system: System, agent: str, *wavs: Path, out: Path | None = None, options: Sequence[str] = ()
) -> Talk:
    """Hold a conversation of the device with this agent, one turn per recording."""
    return start_talk(system, agent, *wavs, out=out, options=options).finish()
