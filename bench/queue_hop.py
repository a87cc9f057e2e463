"""How long a turn waits in the queue: from the gateway's publish to the start of its task.

Thirty turns are under way on one worker, each with a user who speaks on and on, while further
turns are published one after another by the gateway's own `TurnQueue`. Speech-to-text is the
scripted engine: thirty real ones are more than two cores can do, and the hop is not theirs.
"""

import asyncio

from bench.figure import Figure, percentile
from bench.systems import measured_system
from bench.turns import WARM_UP, turns_of
from tests.servers.system import System

RUNNING = 30
PROBES, QUICK_PROBES = 150, 40


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the wait."""
    with measured_system(EDGEWISE_STT_ENGINE="scripted") as system:
        return asyncio.run(_measure(system, QUICK_PROBES if quick else PROBES))


async def _measure(system: System, probes: int) -> list[Figure]:
    async with turns_of(system, system.agent()) as turns:
        await turns.probe(WARM_UP)
        alone = await turns.probe(max(10, probes // 5))
        async with asyncio.TaskGroup() as group:
            load = [group.create_task(turns.speak(), name=f"turn {n}") for n in range(RUNNING)]
            await turns.wait_until_running(RUNNING)
            waits = await turns.probe(probes)
            for task in load:
                task.cancel()
    note = (
        f"p50 {percentile(waits, 0.5):.1f} ms, max {max(waits):.1f} ms of {len(waits)}; "
        f"with no other turn p95 {percentile(alone, 0.95):.1f} ms"
    )
    name = f"queue hop, publish to task start, {RUNNING} turns running, p95"
    return [Figure(name, percentile(waits, 0.95), "ms", 15, note=note)]
