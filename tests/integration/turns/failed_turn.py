"""A turn that went wrong, and what may not be left of it."""

import asyncio
import time

import psutil

from schemas.turn import ReplyAudio, TurnError
from tests.fakes.stage import END, SPEECH, Stage
from tests.integration.turns.chain import Chain
from tests.servers.stalls import watched
from workers.providers.pinned_transport import PinnedTransport

OURS = {"reply-words", "reply-voice", "reply-filler", "turn-guess", "llm-first-word"}
MEMORY = 20_000_000
AT_ONCE_S = 3.0
"""No fault that shows by itself takes longer, however long the budget."""


async def failed_turn(chain: Chain, stage: Stage) -> TurnError:
    """Run the turn; return what it says went wrong, with nothing of it left behind."""
    assert await clean_turn(chain, stage) == "failed"
    (error,) = stage.of(TurnError)
    assert isinstance(error, TurnError)
    assert "sk-" not in error.message
    assert any(isinstance(entry, ReplyAudio) and entry.packets for entry in stage.reply.entries)
    return error


async def clean_turn(chain: Chain, stage: Stage) -> str:
    """Run the turn; return how it ended: in time, with no task, connection or memory kept."""
    memory = psutil.Process().memory_info().rss
    stage.real_chat = chain.chat()
    stage.say(SPEECH, END)
    async with watched() as stalls:
        started = time.monotonic()
        status = await stage.run()
        took_s = stalls.seconds(started, time.monotonic())
    assert took_s < min(chain.budget.total_s, AT_ONCE_S) + 0.5
    assert psutil.Process().memory_info().rss - memory < MEMORY
    assert not {task.get_name() for task in asyncio.all_tasks()} & OURS
    async with asyncio.timeout(2):
        await asyncio.gather(*(request.closed.wait() for request in chain.servers[0].requests))
    transport = chain.client._transport
    assert isinstance(transport, PinnedTransport)
    assert all(connection.is_idle() for connection in transport._pool.connections)
    return status
