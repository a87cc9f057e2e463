"""A turn that went wrong, and what may not be left of it."""

import asyncio
import re
import time

from schemas.turn import ReplyAudio, TurnError
from tests.fakes.stage import END, SPEECH, Stage
from tests.integration.turns.chain import Chain
from tests.servers.memory import Peak
from tests.servers.stalls import watched
from workers.providers.pinned_transport import PinnedTransport

THEIRS = re.compile(r"LlmStub\.|Relay\.")
MEMORY = 20_000_000
AT_ONCE_S = 3.0
"""No fault that shows by itself takes longer, however long the budget."""


async def failed_turn(chain: Chain, stage: Stage, within_s: float = AT_ONCE_S) -> TurnError:
    """Run the turn; return what it says went wrong, with nothing of it left behind.

    Each request to the model has ended `within_s` and half a second after it came.
    """
    assert await clean_turn(chain, stage, within_s) == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert "sk-" not in error.message
    assert any(isinstance(entry, ReplyAudio) and entry.packets for entry in stage.reply.entries)
    return error


async def clean_turn(chain: Chain, stage: Stage, within_s: float = AT_ONCE_S) -> str:
    """Run the turn; return how it ended: in time, with no task, connection or memory kept."""
    tasks, memory, before = our_tasks(), Peak(), len(chain.servers[0].requests)
    stage.real_chat = chain.chat()
    stage.say(SPEECH, END)
    async with watched() as stalls:
        started = time.monotonic()
        status = await stage.run()
        took_s = stalls.seconds(started, time.monotonic())
        requests = list(chain.servers[0].requests)[before:]
        async with asyncio.timeout(2):
            await asyncio.gather(*(request.closed.wait() for request in requests))
        for request in requests:
            assert request.closed_at is not None
            assert stalls.seconds(request.arrived_at, request.closed_at) < within_s + 0.5
    assert took_s < min(chain.budget.total_s, AT_ONCE_S) + 0.5
    assert memory.rise < MEMORY
    assert our_tasks() <= tasks
    transport = chain.client._transport
    assert isinstance(transport, PinnedTransport)
    assert all(connection.is_idle() for connection in transport._pool.connections)
    return status


def our_tasks() -> set[asyncio.Task[object]]:
    """Return all tasks but those of the test's servers, which keep connections warm."""
    return {task for task in asyncio.all_tasks() if not THEIRS.search(repr(task.get_coro()))}
