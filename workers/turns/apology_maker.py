"""What the gateway is to say for an agent once its workers are gone, made while one is there."""

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from schemas.agent import Agent
from schemas.apology import BUILT_IN, Apology, Wording, wording_of
from workers.storage.agents.apologies import Apologies
from workers.turns.due_first import DueFirst, Playing
from workers.turns.ports import TextToSpeech
from workers.turns.voicing import opus_packets

LOOK_S: Final = 300.0
"""After this long it is looked again whether an agent's line is kept, in seconds."""
MAX_KNOWN: Final = 1_000
"""Agents of which a worker remembers that it has looked."""
MAX_WANTED: Final = 100
"""Lines that wait to be made; an agent beyond that gets its own after a later turn."""
MAKE_S: Final = 30.0
NO_HURRY_S: Final = 60.0
"""The speech of every reply under way is due before it, in seconds."""

log = structlog.get_logger(__name__)


class ApologyMaker:
    """Makes one line after another, behind what listeners wait for."""

    def __init__(
        self, kept: Apologies, tts: TextToSpeech, encoding: DueFirst, *, has_built_in: bool
    ) -> None:
        """Take with `has_built_in` that the gateway's own recording is of the voice in use."""
        self._kept = kept
        self._tts = tts
        self._encoding = encoding
        self._has_built_in = has_built_in
        self._known: OrderedDict[str, tuple[Wording, float]] = OrderedDict()
        """The wording of an agent, and when to look again, on the loop's clock."""
        self._wanted: dict[str, Wording] = {}
        self._making: asyncio.Task[None] | None = None

    def want(self, agent: Agent) -> None:
        """See in the background that the agent's line is kept; what fails is a line of the log."""
        wording, loop = wording_of(agent), asyncio.get_running_loop()
        if self._has_built_in and wording == BUILT_IN:
            return
        known, until = self._known.get(agent.id, (None, 0.0))
        if (known == wording and loop.time() < until) or len(self._wanted) >= MAX_WANTED:
            return
        self._know(agent.id, wording, loop.time() + LOOK_S)
        self._wanted[agent.id] = wording
        if self._making is None:
            self._making = loop.create_task(self._make_all(), name="make apologies")

    def _know(self, agent_id: str, wording: Wording, until: float) -> None:
        self._known[agent_id] = wording, until
        self._known.move_to_end(agent_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _make_all(self) -> None:
        structlog.contextvars.clear_contextvars()  # of the turn that was the first to want one
        try:
            while self._wanted:
                agent_id = next(iter(self._wanted))
                await self._make(agent_id, self._wanted.pop(agent_id))
        finally:
            self._making = None

    async def _make(self, agent_id: str, wording: Wording) -> None:
        try:
            async with asyncio.timeout(MAKE_S):
                if not await self._kept.is_fresh(agent_id, wording):
                    await self._kept.keep(agent_id, await self._spoken(wording))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other agents get theirs
            log.warning("apology_not_made", agent_id=agent_id, error=type(error).__name__)

    async def _spoken(self, wording: Wording) -> Apology:
        now = asyncio.get_running_loop().time
        playing = Playing(self._encoding, now, due=now() + NO_HURRY_S)
        lots = opus_packets(wording.text, self._tts, wording.voice, playing)
        packets = tuple([packet async for lot in lots for packet in lot])
        return Apology(wording=wording, packets=packets)

    async def close(self) -> None:
        """Make no more."""
        self._wanted.clear()
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
