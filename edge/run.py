"""`run`: microphone and speaker until it is told to stop, through every loss of the server."""

import asyncio
import random
import time
from typing import Final

import numpy as np

from edge import earcon
from edge.backoff import full_jitter
from edge.call import Call
from edge.errors import BusyError, ConnectionLostError, DeviceError, RefusedError
from edge.microphone import Microphone
from edge.peer import Peer, open_peer
from edge.reply_line import ReplyLine
from edge.settings import DeviceSettings
from edge.speaker import Speaker
from edge.tools import DeviceTools
from edge.unwrap import first_of
from edge.view import View
from schemas.audio import CHUNK_SAMPLES

STABLE_S: Final = 10.0
"""A session that lasted this long ends the series of attempts that back off."""
ECHO_S: Final = 0.3
"""How long after a reply the room may still echo it."""
UNHEARD: Final = np.zeros(CHUNK_SAMPLES, dtype=np.int16)


async def run(settings: DeviceSettings, view: View) -> None:
    """Converse until cancelled; raises SoundError, or RefusedError before the first session."""
    line = ReplyLine()
    async with (
        Microphone(settings.input_device) as microphone,
        Speaker(settings.output_device, line) as speaker,
    ):
        view.note(f"microphone: {microphone.format.name}; speaker: {speaker.format.name}")
        await _Runner(settings, view, line, microphone).stay_connected()


class _Runner:
    def __init__(
        self, settings: DeviceSettings, view: View, line: ReplyLine, microphone: Microphone
    ) -> None:
        self._settings = settings
        self._view = view
        self._line = line
        self._microphone = microphone
        self._was_connected = False
        self._is_offline = False

    async def stay_connected(self) -> None:
        waits = full_jitter(random.random)
        while True:
            began = time.monotonic()
            error = await self._one_session()
            if isinstance(error, RefusedError) and not self._was_connected:
                raise error
            if not error.retryable and not isinstance(error, RefusedError):
                raise error
            if time.monotonic() - began > STABLE_S:
                waits = full_jitter(random.random)
            wait_s = next(waits)
            if isinstance(error, BusyError):
                wait_s += error.retry_after_s
            self._go_offline(error, wait_s)
            await asyncio.sleep(wait_s)

    async def _one_session(self) -> DeviceError:
        """Converse until the session breaks; return why it did."""
        tools = DeviceTools(self._settings.tools)
        call = Call(self._settings, self._line, self._view, tools, turn_per_utterance=True)
        reason: DeviceError | None = None
        try:
            async with (
                tools,
                open_peer(self._settings, call) as peer,
                asyncio.TaskGroup() as group,
            ):
                self._go_online()
                group.create_task(peer.watch(self._settings, call), name="signs of life")
                group.create_task(self._listen(peer, call), name="microphone to peer")
        except* DeviceError as failures:
            reason = first_of(failures)
        return reason or ConnectionLostError("the session ended without saying why.")

    async def _listen(self, peer: Peer, call: Call) -> None:
        uplink = call.uplink(peer)
        complained = False
        self._microphone.forget()
        async for chunk in self._microphone.chunks():
            deaf = not self._settings.barge_in and self._reply_sounds(chunk.at)
            uplink.push(UNHEARD if deaf else chunk.samples, chunk.at)
            self._microphone.attentive = uplink.gate.is_open
            call.tick(chunk.at)
            if uplink.gate.always_open is not complained:
                complained = uplink.gate.always_open
                if complained:
                    self._view.note(
                        "the gate has not closed for 30 s: something sounds like speech without "
                        "end. Move the microphone away from radio, television or the speaker."
                    )

    def _reply_sounds(self, now: float) -> bool:
        return not self._line.idle or now - self._line.heard.last_frame_at < ECHO_S

    def _go_online(self) -> None:
        self._view.note(f"connected to {self._settings.server}; speak")
        if self._is_offline:
            self._line.sound(earcon.online())
        self._was_connected = True
        self._is_offline = False

    def _go_offline(self, error: DeviceError, wait_s: float) -> None:
        self._view.note(f"offline: {error} Next try in {wait_s:.1f} s.")
        if not self._is_offline:
            self._line.fall_silent()
            self._line.sound(earcon.offline())
        self._is_offline = True
