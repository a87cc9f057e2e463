"""Programs of this device that the agent may run, by the names of its tools.

A program gets the arguments as JSON on its standard input; what it writes to its standard
output is the result, and an exit code other than 0 makes it an error.
"""

import asyncio
import contextlib
import json
import logging
import os
import shlex
import signal
from collections.abc import Callable, Mapping
from typing import Final, Self

from schemas.session_events import MAX_EVENT_BYTES, ToolCall, ToolResultEvent, write_event

MAX_RESULT: Final = 8_000
"""Bytes of a result; the rest is cut off."""
AT_ONCE: Final = 16
LONGEST_S: Final = 300.0

Answer = Callable[[ToolResultEvent], None]
logger = logging.getLogger(__name__)


class DeviceTools:
    """Runs them; what still runs at the end is killed."""

    def __init__(self, programs: Mapping[str, str]) -> None:
        """Take command lines by the names of tools; no shell reads them."""
        self._programs = programs
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def call(self, event: ToolCall, answer: Answer) -> None:
        """Run a tool and answer when it is done, at once where there is none; never waits."""
        command = self._programs.get(event.name)
        if command is None:
            answer(_result(event, "there is no such tool on this device", is_error=True))
        elif len(self._running) >= AT_ONCE:
            answer(_result(event, "too many tools run on this device", is_error=True))
        else:
            task = asyncio.create_task(
                self._run(event, shlex.split(command), answer), name=f"tool {event.name}"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, event: ToolCall, command: list[str], answer: Answer) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                code, output = await _output_of(command, json.dumps(event.arguments).encode())
        except TimeoutError:
            answer(_result(event, "the program takes too long", is_error=True))
        except (OSError, ValueError) as error:
            logger.warning("tool %s does not start: %s", event.name, error)
            answer(_result(event, "the program of this tool does not start", is_error=True))
        else:
            answer(_result(event, output, is_error=code != 0))


async def _output_of(command: list[str], arguments: bytes) -> tuple[int, str]:
    """Run a program with this input; return its exit code and the beginning of its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise OSError("the program has no pipes")
        with contextlib.suppress(ConnectionError):
            process.stdin.write(arguments)
            await process.stdin.drain()
        process.stdin.close()
        output = b""
        while chunk := await process.stdout.read(4_096):
            output = (output + chunk)[: MAX_RESULT + 1]
        return await process.wait(), output[:MAX_RESULT].decode("utf-8", "replace")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _result(event: ToolCall, text: str, *, is_error: bool) -> ToolResultEvent:
    """Return the answer, cut until it fits the data channel."""
    result = ToolResultEvent(call_id=event.call_id, result=text, is_error=is_error)
    while len(write_event(result)) > MAX_EVENT_BYTES:
        text = text[: len(text) // 2]
        result = result.model_copy(update={"result": text})
    return result
