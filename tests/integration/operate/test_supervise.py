import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workers.supervision.supervise import Part, PartEndedError, Supervisor

STAYS = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
)


def part(name: str, code: str, stage: int = 1, stop_s: float = 1.0) -> Part:
    return Part(name, (sys.executable, "-c", code), dict(os.environ), stage, stop_s)


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # other processes tell no event
            await asyncio.sleep(0.01)


def supervisor(folder: Path, told: list[str]) -> Supervisor:
    return Supervisor(folder, folder, told=told.append)


def process_ids(folder: Path) -> dict[str, int]:
    parts: dict[str, int] = json.loads((folder / "parts.json").read_text())
    return parts


def gone(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_killed_part_is_back_at_once_and_what_it_left_is_swept_up(tmp_path: Path) -> None:
    told: list[str] = []
    async with supervisor(tmp_path, told) as parts:
        await parts.start(part("worker", PARENT))
        parts.settle()
        first = process_ids(tmp_path)["worker"]
        await until(lambda: psutil.Process(first).children())
        orphan = psutil.Process(first).children()[0].pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: process_ids(tmp_path)["worker"] != first)
        await until(lambda: gone(orphan))
        assert told == ["worker ended with SIGKILL; starting it again"]
        second = process_ids(tmp_path)["worker"]
    assert gone(second)


async def test_a_part_that_ends_while_the_system_starts_is_an_error_with_its_log(
    tmp_path: Path,
) -> None:
    (tmp_path / "gateway.log").write_text("the trouble of yesterday\n")
    async with supervisor(tmp_path, []) as parts:
        await parts.start(part("gateway", "import sys; sys.exit('port 8300 is taken')"))
        said: list[str] = []

        def failed() -> bool:
            try:
                parts.check()
            except PartEndedError as error:
                said.append(str(error))
            return bool(said)

        await until(failed)
    assert "exit code 1" in said[0]
    assert "port 8300 is taken" in said[0]
    assert "yesterday" not in said[0]


async def test_a_part_that_keeps_ending_is_started_again_and_again(tmp_path: Path) -> None:
    told: list[str] = []
    async with supervisor(tmp_path, told) as parts:
        await parts.start(part("worker", "import time; time.sleep(0.1)"))
        parts.settle()
        await until(lambda: len(told) >= 3)
    assert told[1].endswith("in 0.25 s")
    assert told[2].endswith("in 0.5 s")


async def test_parts_stop_from_the_highest_stage_down_and_a_stubborn_one_is_killed(
    tmp_path: Path,
) -> None:
    writes = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: "
        "(open('{order}', 'a').write('{name} '), sys.exit(0))); print('up', flush=True); "
        "time.sleep(60)"
    )
    async with supervisor(tmp_path, []) as parts:
        for stage, name in enumerate(("redis", "llm", "gateway")):
            code = writes.format(order=tmp_path / "order", name=name)
            await parts.start(part(name, code, stage))
        await parts.start(part("stubborn", STUBBORN, 1, stop_s=0.2))
        stubborn = process_ids(tmp_path)["stubborn"]
        for name in ("redis", "llm", "gateway"):
            await until((tmp_path / f"{name}.log").read_text)
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert (tmp_path / "order").read_text().split() == ["gateway", "llm", "redis"]
    assert gone(stubborn)
    assert not (tmp_path / "parts.json").exists()


async def test_a_part_that_is_started_again_gets_what_was_pinned(tmp_path: Path) -> None:
    code = "import os, time; print(os.environ.get('PORT', 'none'), flush=True); time.sleep(60)"
    async with supervisor(tmp_path, []) as parts:
        await parts.start(part("gateway", code))
        await until((tmp_path / "gateway.log").read_text)
        parts.pin("gateway", PORT="4711")
        parts.settle()
        os.kill(process_ids(tmp_path)["gateway"], signal.SIGKILL)
        await until(lambda: "4711" in (tmp_path / "gateway.log").read_text())
    assert (tmp_path / "gateway.log").read_text().split() == ["none", "4711"]


async def test_the_environment_of_a_part_is_not_in_its_repr() -> None:
    shown = repr(Part("gateway", ("true",), {"EDGEWISE_API_KEY": "hidden-0123456789"}, 1))
    assert "hidden" not in shown


def until_now(condition: Callable[[], object], within_s: float = 10.0) -> None:
    asyncio.run(until(condition, within_s))


@pytest.mark.parametrize("ends_with", [signal.SIGKILL, signal.SIGTERM])
def test_a_tethered_process_ends_with_its_parent(ends_with: signal.Signals) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "from workers.supervision.tether import tethered\n"
        f"command = tethered([sys.executable, '-c', {STAYS!r}], {int(ends_with)})\n"
        "print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    until_now(lambda: psutil.Process(child).cmdline()[1:2] == ["-c"])
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until_now(lambda: gone(child))
