"""What the model writes, cut into sentences as it comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from schemas.chat import (
    Answered,
    ChatEvent,
    ChatRequest,
    Content,
    Finished,
    ToolCalls,
    ToolRound,
    Used,
)
from workers.turns.filler import Filler
from workers.turns.ports import Chat
from workers.turns.repetition import Repetition
from workers.turns.sentences import SentenceCutter
from workers.turns.timeline import Timeline
from workers.turns.unsaid import Unsaid

AT_ONCE: Final = 1_000
"""Characters that are cut into sentences before other turns have the loop again."""


class Writing:
    """Asks the model, as often as a reply takes, and hands on its sentences."""

    def __init__(self, chat: Chat, unsaid: Unsaid, filler: Filler, timeline: Timeline) -> None:
        self._chat = chat
        self._unsaid = unsaid
        self._filler = filler
        self._timeline = timeline
        self._repetition = Repetition()
        self.has_written = False
        """True once there were words to say."""

    async def ask(self, request: ChatRequest) -> ToolRound | None:
        """Have what the model writes said; return what it calls, None where it calls nothing.

        Raises ModelError.
        """
        cutter = SentenceCutter()
        written: list[str] = []
        calls: ToolRound | None = None
        self._timeline.mark_first("request")
        async with self._chat.stream(request) as events:
            async for event in self._covered(events):
                match event:
                    case Answered():
                        self._timeline.answered(event)
                    case Content(text):
                        self._timeline.mark_first("first_token")
                        written.append(text)
                        await self._cut(text, cutter, self._repetition.take)
                    case ToolCalls(asked):
                        calls = ToolRound("".join(written), asked)
                    case Finished():
                        self._put(cutter.flush())
                    case Used():
                        self._timeline.used(event)
        return calls

    async def repeat(self, text: str) -> None:
        """Have said what an earlier attempt wrote."""
        cutter = SentenceCutter()
        await self._cut(text, cutter, lambda _sentence: None)
        self._put(cutter.flush())

    async def _cut(self, text: str, cutter: SentenceCutter, check: Callable[[str], None]) -> None:
        """Hand on what `text` completes; a long one is no reason for others to wait."""
        for start in range(0, len(text), AT_ONCE):
            if start:
                await asyncio.sleep(0)
            for sentence in cutter.push(text[start : start + AT_ONCE]):
                check(sentence)
                self._put([sentence])

    def _put(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.has_written = True
            self._unsaid.put(sentence)

    async def _covered(self, events: AsyncIterator[ChatEvent]) -> AsyncIterator[ChatEvent]:
        """Yield the events; while the first is late, a filler is said."""
        async with self._filler.over():
            first = await anext(events, None)
        if first is None:
            return
        yield first
        async for event in events:
            yield event
