"""What a session costs the gateway, silent and busy, and what it costs plain aiortc.

All sessions are in one gateway process; the devices are in another. What the gateway takes
without any session is measured first and subtracted.
"""

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from bench.child import Child, child
from bench.figure import Figure, NotMeasuredError
from bench.model import MARK
from bench.speech import STORY
from bench.systems import measured_system
from tests.servers.system import System

SILENT, QUICK_SILENT = 40, 10
BUSY, QUICK_BUSY = 8, 4
PLAIN = 4
WINDOW_S, QUICK_WINDOW_S = 20.0, 6.0
IDLE_S = 8.0
PLAIN_S = 8.0
SETTLE_S = 3.0
PACKETS_A_SECOND = 50
FEWEST = 0.9
"""Share of the packets that must flow for the measurement to stand."""


def run(*, quick: bool) -> list[Figure]:
    """Return the CPU of a silent and of a busy session, in percent of a core."""
    window = QUICK_WINDOW_S if quick else WINDOW_S
    busy = QUICK_BUSY if quick else BUSY
    environment = {
        "EDGEWISE_STT_ENGINE": "scripted",
        "EDGEWISE_MAX_BUSY_SESSIONS": "100",
    }
    with measured_system(**environment) as system:
        idle = cpu_share(_gateway(system), IDLE_S)
        count = QUICK_SILENT if quick else SILENT
        silent = (_silent(system, count, window) - idle) / count
        talking = (_busy(system, busy, window) - idle) / busy
    plain_silent, plain_busy = _plain()
    return [
        Figure(
            "gateway CPU a session, connected and silent",
            silent,
            "% of a core",
            0.15,
            note=f"{count} sessions; plain aiortc {plain_silent:.2f} %; gateway idle {idle:.2f} %",
        ),
        Figure(
            "gateway CPU a session, busy both ways",
            talking,
            "% of a core",
            3,
            note=f"{busy} sessions; plain aiortc {plain_busy:.1f} %",
        ),
    ]


def cpu_share(process: psutil.Process, window_s: float) -> float:
    """Return how much of a core the process takes from now on, in percent."""
    began, before = time.monotonic(), process.cpu_times()
    time.sleep(window_s)
    after, ended = process.cpu_times(), time.monotonic()
    spent = after.user + after.system - before.user - before.system
    return float(100 * spent / (ended - began))


def _gateway(system: System) -> psutil.Process:
    pid = system.part("gateway")
    if pid is None:
        found = json.loads(Path(system.home / "run" / "gateway.json").read_text())
        pid = int(found["pid"])
    return psutil.Process(pid)


def _silent(system: System, count: int, window_s: float) -> float:
    agent_id = system.agent()
    with _devices(system, agent_id, count) as devices:
        devices.ask()
        time.sleep(SETTLE_S)
        return cpu_share(_gateway(system), window_s)


def _busy(system: System, count: int, window_s: float) -> float:
    agent_id = system.agent(
        system_prompt=MARK + STORY * 4,
        input={"turn_detection": {"interrupt_response": False}},
    )
    with _devices(system, agent_id, count) as devices:
        devices.ask()
        devices.ask("speak")
        time.sleep(SETTLE_S)
        before = devices.ask("count")
        share = cpu_share(_gateway(system), window_s)
        after = devices.ask("count")
    wanted = FEWEST * count * window_s * PACKETS_A_SECOND
    flowed = {way: after[way] - before[way] for way in ("sent", "received")}
    if min(flowed.values()) < wanted:
        raise NotMeasuredError(f"audio did not flow both ways: {flowed}, wanted {wanted:.0f} each")
    return share


def _devices(system: System, agent_id: str, count: int) -> AbstractContextManager[Child]:
    return child("bench.load_peers", system.url, system.api_key, agent_id, str(count))


def _plain() -> tuple[float, float]:
    """Return what a silent and a busy session cost a process of plain aiortc."""
    with child("bench.plain_aiortc", str(PLAIN)) as sessions:
        process = psutil.Process(int(sessions.ask()["server"]))
        silent = cpu_share(process, PLAIN_S) / PLAIN
        sessions.ask("speak")
        time.sleep(SETTLE_S)
        return silent, cpu_share(process, PLAIN_S) / PLAIN
