"""How soon the model's server sees the connection close when the user speaks over the reply.

One turn after another against a model that goes on without end; once the reply has its first
audio, the gateway's word to cancel goes into the turn's stream. From there to the end of the
connection, as the model's server sees it.
"""

import asyncio
import time
from contextlib import AsyncExitStack

from bench.figure import Figure, percentile
from bench.turns import ANSWER_S, Turns, turns_of
from schemas.turn import Cancel, Done, ReplyAudio
from tests.servers.system import running_system
from workers.llm_stub.chat import Pace
from workers.llm_stub.server import LlmStub

TIMES, QUICK_TIMES = 60, 20
MODEL = "stub-story"
TOKEN_S = 0.03


def run(*, quick: bool) -> list[Figure]:
    """Return the 95th percentile of the time to the closed connection."""
    waits = asyncio.run(_measure(QUICK_TIMES if quick else TIMES))
    note = f"p50 {percentile(waits, 0.5):.1f} ms, max {max(waits):.1f} ms of {len(waits)}"
    name = "user interrupts to the model's connection closed, seen at its server, p95"
    return [Figure(name, percentile(waits, 0.95), "ms", 100, note=note)]


async def _measure(times: int) -> list[float]:
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(LlmStub(pace=Pace(token_s=TOKEN_S)))
        system = running_system(
            EDGEWISE_MANAGED_LLM_BASE_URL=model.base_url,
            EDGEWISE_MANAGED_LLM_MODEL=MODEL,
            EDGEWISE_STT_ENGINE="scripted",
        )
        running = await asyncio.to_thread(system.__enter__)
        stack.push(lambda *_: system.__exit__(None, None, None))
        agent_id = await asyncio.to_thread(running.agent)
        turns = await stack.enter_async_context(turns_of(running, agent_id))
        return [await _interrupted_ms(turns, model) for _ in range(times)]


async def _interrupted_ms(turns: Turns, model: LlmStub) -> float:
    model.requests.clear()
    turn_id = await turns.ask()
    await turns.wait_for(turn_id, lambda entry: isinstance(entry, ReplyAudio))
    cancelled_at = time.monotonic()
    await turns.streams.write_input(turn_id, Cancel(reason="barge_in"))
    async with asyncio.timeout(ANSWER_S):
        await asyncio.gather(*(request.closed.wait() for request in model.requests))
    closed_at = max(request.closed_at or 0.0 for request in model.requests)
    await turns.wait_for(turn_id, lambda entry: isinstance(entry, Done))
    return 1000 * (closed_at - cancelled_at)
