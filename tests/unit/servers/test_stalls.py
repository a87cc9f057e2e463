"""A stall of the machine is taken off; what the loop computes is not."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.servers.stalls import watched

STOPPED = """
import asyncio, time
from tests.servers.stalls import watched
async def main():
    async with watched() as stalls:
        began = time.monotonic()
        while time.monotonic() - began < 0.4:
            await asyncio.sleep(0.005)
            print(".", end="", flush=True)
        ended = time.monotonic()
        print(f"|{ended - began} {stalls.seconds(began, ended)}")
asyncio.run(main())
"""


async def test_what_the_loop_computes_counts() -> None:
    async with watched() as stalls:
        began = time.monotonic()
        await asyncio.sleep(0.02)
        busy = time.thread_time()
        while time.thread_time() - busy < 0.3:
            pass
        await asyncio.sleep(0.02)
        ended = time.monotonic()
    assert 0.3 <= stalls.seconds(began, ended) <= ended - began


def test_a_process_that_is_stopped_does_not_count() -> None:
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == "."
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        os.kill(process.pid, signal.SIGCONT)
        took, counted = map(float, process.stdout.read().partition("|")[2].split())
    assert took >= 1
    assert counted < took - 0.8
