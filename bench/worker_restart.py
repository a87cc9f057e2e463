"""How soon a turn worker that was killed is back: from kill -9 to its new sign of life in Redis.

A turn that it was on goes to another worker after 1.5 s without a sign of life, or waits for this
one where there is no other. Each is killed once it has run for as long as makes it one that was at
work: what dies sooner than that several times in a row is started again after a pause.
"""

import time

import psutil

from bench.figure import Figure, percentile
from bench.systems import measured_system
from tests.servers.system import System
from tests.servers.waiting import wait_for
from workers.supervision.supervise import LONG_ENOUGH_S

TIMES, QUICK_TIMES = 10, 3
WITHIN_S = 30.0


def run(*, quick: bool) -> list[Figure]:
    """Return the longest that it took."""
    with measured_system() as system:
        took = [_restart_s(system) for _ in range(QUICK_TIMES if quick else TIMES)]
    note = f"p50 {percentile(took, 0.5):.1f} s of {len(took)}"
    return [
        Figure("turn worker killed to its successor at work, max", max(took), "s", 5, note=note)
    ]


def _restart_s(system: System) -> float:
    time.sleep(LONG_ENOUGH_S)
    with system.redis() as redis:
        names = set(redis.zrange("presence:turns", 0, -1))
        killed_at = time.monotonic()
        psutil.Process(system.part("turns") or 0).kill()
        wait_for(
            "a new turn worker",
            lambda: set(redis.zrange("presence:turns", 0, -1)) - names,
            within=WITHIN_S,
        )
    return time.monotonic() - killed_at
