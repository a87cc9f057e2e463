"""Several addresses of one host, dialled as RFC 8305 (Happy Eyeballs) has it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpcore

from workers.providers.public_address import IpAddress

STAGGER_S: Final = 0.25
"""RFC 8305, section 5: the head start that an address has over the next."""
MAX_DIALLED: Final = 8

Stream = httpcore.AsyncNetworkStream


def in_dialling_order(addresses: Sequence[IpAddress]) -> list[IpAddress]:
    """Return up to 8 addresses, the two IP versions taking turns, the first's version first."""
    same = [address for address in addresses if address.version == addresses[0].version]
    other = [address for address in addresses if address.version != addresses[0].version]
    turns = itertools.chain.from_iterable(itertools.zip_longest(same, other))
    return [address for address in turns if address is not None][:MAX_DIALLED]


async def first_to_answer(dials: Sequence[Callable[[], Awaitable[Stream]]]) -> Stream:
    """Start one dial after another, return the first connection made, close what comes later.

    Raises httpcore.ConnectError when all fail. The caller sets the deadline.
    """
    waiting = list(dials)
    tried: list[asyncio.Task[Stream]] = []
    winner: asyncio.Task[Stream] | None = None
    try:
        while winner is None:
            if waiting:
                tried.append(asyncio.create_task(_run(waiting.pop(0)), name="dial"))
            elif all(task.done() for task in tried):
                raise httpcore.ConnectError("no address of the host answers")
            winner = await _answered(tried, STAGGER_S if waiting else None)
        return winner.result()
    finally:
        await _give_up(tried, winner)


async def _run(dial: Callable[[], Awaitable[Stream]]) -> Stream:
    return await dial()


async def _answered(
    tried: Sequence[asyncio.Task[Stream]], patience_s: float | None
) -> asyncio.Task[Stream] | None:
    """Wait for the next outcome; return a connection that was made, None if there is none yet."""
    pending = [task for task in tried if not task.done()]
    if pending:
        await asyncio.wait(pending, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    return next((task for task in tried if task.done() and task.exception() is None), None)


async def _give_up(
    tried: Sequence[asyncio.Task[Stream]], winner: asyncio.Task[Stream] | None
) -> None:
    """Stop dialling and close what connected all the same; the winner, too, when cancelled."""
    losers = [task for task in tried if task is not winner]
    for task in losers:
        task.cancel()
    try:
        outcomes = await asyncio.gather(*losers, return_exceptions=True)
    except asyncio.CancelledError:
        if winner is not None:
            await winner.result().aclose()
        raise
    for outcome in outcomes:
        if isinstance(outcome, Stream):
            await outcome.aclose()
