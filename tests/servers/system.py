"""A whole system in real processes: `edgewise up` with a home of its own, and who belongs to it."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from tests.servers.databases import URL, database_of

READY_S = 60.0
STOP_S = 5.0
"""SIGTERM ends a system within this."""


def command(name: str) -> str:
    """Return the path of an installed command, such as `edgewise`."""
    return str(Path(sys.executable).with_name(name))


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without anything of ours, and with `more`.

    A home without a named database has the one that the test run is for.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGEWISE_")}
    url = database_of(more["EDGEWISE_HOME"]) if "EDGEWISE_HOME" in more else None
    return {**kept, **({URL: url} if url else {}), **more}


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the live processes that work for this home, found by environment and arguments."""
    mark = str(home)
    return [process for process in psutil.process_iter() if _works_for(process, mark)]


def _works_for(process: psutil.Process, mark: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        named = any(mark in argument for argument in process.cmdline())
        return named or process.environ().get("EDGEWISE_HOME") == mark
    except psutil.Error:
        return False


@dataclass
class System:
    """A running `edgewise up`: where it listens, its key, its home, its processes."""

    url: str
    api_key: str
    pid: int
    home: Path
    process: "subprocess.Popen[str]" = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}

    def agent(self, **fields: Any) -> str:
        """Create an agent over REST and return its id."""
        body = {
            "name": "Ada",
            "system_prompt": "You are Ada.",
            "voice": {"voice_id": "ivy"},
            **fields,
        }
        answer = httpx.post(f"{self.url}/v1/agents", json=body, headers=self.headers, timeout=20)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def redis(self) -> "Redis":
        """Return a client of the private Redis."""
        return Redis(unix_socket_path=str(self.home / "redis" / "redis.sock"), socket_timeout=5)

    def part(self, name: str) -> int | None:
        """Return the process id of a part as it is now."""
        parts: dict[str, int] = json.loads((self.home / "run" / "parts.json").read_text())
        return parts.get(name)

    def log(self, name: str) -> str:
        """Return what a part has logged."""
        file = self.home / "logs" / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON lines that a part has logged."""
        lines = self.log(name).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def is_ready(self) -> bool:
        """Tell whether the gateway finds all that it needs."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> list[psutil.Process]:
        return processes_of(self.home)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Signal it and return how many seconds it took to end."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(STOP_S * 3)
        return time.monotonic() - began


def start_system(home: Path, **environment: str) -> System:
    """Start `edgewise up --json` on this home and wait until it says that it is ready."""
    home.parent.mkdir(parents=True, exist_ok=True)
    log = (home.parent / f"{home.name}.stderr").open("ab")
    quiet = {"EDGEWISE_LLM_PROBE_EVERY_S": "0"}  # a scripted model counts who calls it
    env = clean_environment(EDGEWISE_HOME=str(home), EDGEWISE_PORT="0", **quiet | environment)
    with log:
        process = subprocess.Popen(
            [command("edgewise"), "up", "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=home.parent,
            env=env,
            text=True,
            start_new_session=True,
        )
    line = _first_line(process)
    if not line:
        process.kill()
        process.wait()
        said = Path(log.name).read_text(errors="replace")[-4_000:]
        raise AssertionError(f"`edgewise up` did not come up in {READY_S:g} s; it said:\n{said}")
    told = json.loads(line)
    assert told["pid"] == process.pid
    return System(told["url"], told["api_key"], told["pid"], Path(told["home"]), process)


def _first_line(process: "subprocess.Popen[str]") -> str:
    lines: queue.Queue[str] = queue.Queue()

    def drain() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=drain, name="read up", daemon=True).start()
    try:
        return lines.get(timeout=READY_S)
    except queue.Empty:
        return ""


def end(processes: list[psutil.Process]) -> None:
    """Kill what a failed test left behind."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=5)


@contextmanager
def running_system(**environment: str) -> Iterator[System]:
    """Run a system in a new home and stop it, whatever happens; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="ew-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            system = start_system(home, **environment)
            try:
                yield system
            finally:
                if system.process.poll() is None:
                    system.stop()
                assert system.process.stdout is not None
                system.process.stdout.close()
        finally:
            end(processes_of(home))
