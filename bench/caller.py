"""A device in this process, of the real device's parts: it says and hears, and knows when."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from bench.figure import NotMeasuredError
from bench.speech import Speech
from edge.call import Call
from edge.conversation import Conversation, Turn
from edge.peer import open_peer
from edge.reply_line import FRAME_S, ReplyLine
from edge.room import Room
from edge.settings import DeviceSettings
from edge.tools import DeviceTools
from edge.uplink import Uplink
from edge.view import NoView
from tests.servers.system import System

LOOK_S = 0.01


@dataclass(slots=True)
class Said:
    """An utterance on its way into the microphone; times in seconds of the monotonic clock."""

    speech: Speech
    turn: Turn
    started_at: float | None = None

    @property
    def began_at(self) -> float:
        """When its first sound reached the microphone."""
        return self._started_at + self.speech.begins_s

    @property
    def ended_at(self) -> float:
        """When its last sound reached the microphone."""
        return self._started_at + self.speech.ends_s

    @property
    def _started_at(self) -> float:
        if self.started_at is None:
            raise NotMeasuredError("the utterance has not been said yet")
        return self.started_at


class Caller:
    """Somebody at a device that is connected."""

    def __init__(self, call: Call, line: ReplyLine) -> None:
        self._call = call
        self._room = Room()
        self._said: Said | None = None
        self.line = line

    @property
    def conversation(self) -> Conversation:
        """What was said so far, by either side."""
        return self._call.conversation

    def say(self, speech: Speech) -> Said:
        """Begin to say something; it is a turn of its own."""
        self._said = Said(speech, self.conversation.begin_turn())
        self._room.say(speech.samples)
        return self._said

    async def live(self, uplink: Uplink) -> None:
        """Move sound in both directions every 20 ms until cancelled."""
        due = time.monotonic()
        while True:
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._said is not None and self._said.started_at is None:
                self._said.started_at = due - FRAME_S
            uplink.push(self._room.next_chunk(), due)
            self.line.read(time.monotonic())
            self._call.tick(time.monotonic())


@contextlib.asynccontextmanager
async def calling(system: System, agent_id: str) -> AsyncIterator[Caller]:
    """Connect a device to the agent and hang up at the end."""
    settings = DeviceSettings(
        _env_file=None, server=system.url, agent=agent_id, api_key=SecretStr(system.api_key)
    )
    line = ReplyLine()
    call = Call(settings, line, NoView(), DeviceTools({}), turn_per_utterance=False)
    caller = Caller(call, line)
    async with open_peer(settings, call) as peer, asyncio.TaskGroup() as group:
        living = [
            group.create_task(caller.live(call.uplink(peer)), name="the caller's clock"),
            group.create_task(peer.watch(settings, call), name="the caller's signs of life"),
        ]
        try:
            await until("the session is ready", lambda: call.conversation.ready is not None)
            yield caller
        finally:
            for task in living:
                task.cancel()


async def until(what: str, reached: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return once `reached`; raises NotMeasuredError after `within_s`."""
    deadline = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > deadline:
            raise NotMeasuredError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(LOOK_S)
