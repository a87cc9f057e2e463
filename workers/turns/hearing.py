"""The user's side of a turn: Opus packets in, words out, in segments between pauses."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from edge.media.opus import OpusDecoder
from schemas.audio import PACKET_MS, SPEECH_RATE
from workers.turns.ports import Listening

MAX_LATE: Final = 100
"""Packets that may arrive after a pause, because audio travels slower than the word of it."""


class Hearing:
    """Decodes what the user says and feeds it to the speech-to-text engine."""

    def __init__(self, listening: Listening, max_utterance_s: float) -> None:
        self._listening = listening
        self._decoder = OpusDecoder(SPEECH_RATE)
        self._left = int(max_utterance_s * 1000) // PACKET_MS
        self._finished: list[tuple[Awaitable[str], str]] = []
        self._late: list[bytes] = []
        self.is_paused = False

    def feed(self, packets: tuple[bytes, ...]) -> None:
        """Take packets in order; garbage is concealed, what is beyond the bound dropped."""
        if self.is_paused:
            self._late = [*self._late, *packets][-MAX_LATE:]
            return
        if heard := packets[: self._left]:
            self._listening.push(self._decoder.decode_all(heard))
        self._left -= len(heard)

    def pause(self) -> None:
        """End a segment: the user is silent, for now or for good."""
        if self.is_paused:
            return
        self.is_paused = True
        heard_so_far = self._listening.partial
        self._finished.append((self._listening.finish(), heard_so_far))

    def resume(self) -> None:
        """Begin the next segment, with what arrived since the pause."""
        self.is_paused = False
        late, self._late = self._late, []
        self.feed(tuple(late))

    async def text(self) -> str:
        """Return what the user said up to the last pause; raises TranscriptionError."""
        # A guess that is thrown away must not take the transcript of its segment along.
        segments = [await asyncio.shield(segment) for segment, _ in self._finished]
        return " ".join(segment for segment in segments if segment)

    @property
    def so_far(self) -> str:
        """What is understood up to now, good enough to show."""
        parts = [_result(segment, guess) for segment, guess in self._finished]
        if not self.is_paused:
            parts.append(self._listening.partial)
        return " ".join(part for part in parts if part)


def _result(segment: Awaitable[str], guess: str) -> str:
    if isinstance(segment, asyncio.Future) and segment.done() and not segment.exception():
        return str(segment.result())
    return guess
