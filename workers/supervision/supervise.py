"""Keeps processes running: starts them in order, again when they die, stops them in reverse."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from workers.errors import EdgewiseError
from workers.supervision.home import write_atomically
from workers.supervision.tether import tethered

LONG_ENOUGH_S = 3.0
"""A process that ran this long was at work: it is started again at once, however often it ends."""
LONGEST_PAUSE_S = 5.0
TAIL_LINES = 12


@dataclass(frozen=True)
class Part:
    """One process of the system. Lower stages start first and stop last."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    stage: int
    stop_s: float = 1.5
    """How long it may take to end after SIGTERM, in seconds; then it is killed."""
    orphaned: signal.Signals = signal.SIGKILL
    """What it gets when this process is gone and cannot ask it to stop."""


class PartEndedError(EdgewiseError):
    """A part ended while the system was starting; the message holds the end of its log."""


def pause_before(ended_in_a_row: int) -> float:
    """Return how many seconds to wait before a process is started once more.

    The first time not at all; then 0.25 s, doubled each time, up to 5 s.
    """
    if ended_in_a_row <= 1:
        return 0.0
    return min(0.25 * 2.0 ** min(ended_in_a_row - 2, 10), LONGEST_PAUSE_S)


def tail(log: Path, since: int = 0, lines: int = TAIL_LINES) -> str:
    """Return the last lines behind the byte `since`, at most 4 kB; empty where there is no log."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as stream:
        stream.seek(max(since, log.stat().st_size - 4_096))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
    return ""


class Supervisor:
    """Runs parts until it is left: `async with Supervisor(run, logs, ...) as parts`.

    Until `settle` is called, a part that ends makes `check` raise; after it, the part is
    started again. `told` hears what happened in plain words. `run` gets `parts.json`, the
    process id of each part.
    """

    def __init__(
        self, run: Path, logs: Path, *, told: Callable[[str], None], inherited: tuple[int, ...] = ()
    ) -> None:
        self._run = run
        self._logs = logs
        self._told = told
        self._inherited = inherited
        self._settled = False
        self._children: dict[str, _Child] = {}

    async def __aenter__(self) -> Self:
        """Return the supervisor; nothing runs yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop what runs."""
        await self.stop()

    def end_of_log(self, name: str) -> str:
        """Return where the part of this name logs to, and the last of what it logged."""
        child = self._children.get(name)
        log = self._log(name)
        return f"{log}:\n{tail(log, child.log_from if child else 0) or '(empty)'}"

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def start(self, part: Part) -> None:
        """Start the part and keep it."""
        child = _Child(part, self._log(part.name), self._inherited)
        self._children[part.name] = child
        await child.start()
        self._publish()
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {part.name}")

    def settle(self) -> None:
        """Start parts again when they end, from now on: the system is up."""
        self._settled = True

    def check(self) -> None:
        """Raise PartEndedError if a part ended before the system was up."""
        for child in self._children.values():
            if child.ended is not None:
                raise PartEndedError(
                    f"{child.part.name} ended with {_reason(child.ended)}; the end of "
                    f"{self.end_of_log(child.part.name)}"
                )

    def pin(self, name: str, **env: str) -> None:
        """Give the part these variables whenever it is started again."""
        child = self._children[name]
        child.part = replace(child.part, env={**child.part.env, **env})

    async def stop(self) -> None:
        """Stop every part, the highest stage first."""
        children = list(self._children.values())
        keepers = [child.keeper for child in children if child.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for stage in sorted({child.part.stage for child in children}, reverse=True):
            await asyncio.gather(*(c.stop() for c in children if c.part.stage == stage))
        self._children.clear()
        (self._run / "parts.json").unlink(missing_ok=True)

    async def _keep(self, child: "_Child") -> None:
        in_a_row = 0
        while True:
            began = time.monotonic()
            code = await child.wait()
            if not self._settled:
                child.ended = code
                return
            in_a_row = 1 if time.monotonic() - began > LONG_ENOUGH_S else in_a_row + 1
            pause = pause_before(in_a_row)
            after = f" in {pause:.2g} s" if pause else ""
            self._told(f"{child.part.name} ended with {_reason(code)}; starting it again{after}")
            await asyncio.sleep(pause)
            await child.start()
            self._publish()

    def _publish(self) -> None:
        write_atomically(
            self._run / "parts.json", {name: child.pid for name, child in self._children.items()}
        )


def _reason(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


class _Child:
    """One process in a session of its own, so that what it started can be swept up with it."""

    def __init__(self, part: Part, log: Path, inherited: tuple[int, ...]) -> None:
        self.part = part
        self.log = log
        self.log_from = log.stat().st_size if log.exists() else 0
        """Where its log ended before it was started."""
        self.ended: int | None = None
        self.keeper: asyncio.Task[None] | None = None
        self._inherited = inherited
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(list(self.part.command), self.part.orphaned),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.part.env,
                start_new_session=True,
                pass_fds=self._inherited,
            )

    async def wait(self) -> int:
        """Wait until the process has ended, sweep up what it left, return its exit code."""
        assert self._process is not None  # noqa: S101  # start() comes first
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        return code

    async def stop(self) -> None:
        """Ask the process to end, kill it if it does not in time, and all that it started."""
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self.part.stop_s)
        self._signal_group(signal.SIGKILL)
        await self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None  # noqa: S101  # start() comes first
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
