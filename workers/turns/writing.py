"""What the model writes, cut into sentences as it comes."""

import asyncio
from collections.abc import AsyncIterator

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
from workers.errors import ModelError
from workers.turns.filler import Aside, Filler
from workers.turns.ports import Chat
from workers.turns.repetition import Repetition
from workers.turns.sentences import SentenceCutter
from workers.turns.timeline import Timeline

Sentences = asyncio.Queue[str | Aside | ModelError | None]
"""Sentences as the model writes them; an error or None ends the reply."""


class Writing:
    """Asks the model, as often as a reply takes, and puts its sentences into a queue."""

    def __init__(
        self, chat: Chat, sentences: Sentences, filler: Filler, timeline: Timeline
    ) -> None:
        self._chat = chat
        self._sentences = sentences
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
                        for sentence in cutter.push(text):
                            self._repetition.take(sentence)
                            await self._put([sentence])
                    case ToolCalls(asked):
                        calls = ToolRound("".join(written), asked)
                    case Finished():
                        await self._put(cutter.flush())
                    case Used():
                        self._timeline.used(event)
        return calls

    async def repeat(self, text: str) -> None:
        """Have said what an earlier attempt wrote."""
        cutter = SentenceCutter()
        await self._put([*cutter.push(text), *cutter.flush()])

    async def _put(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.has_written = True
            await self._sentences.put(sentence)

    async def _covered(self, events: AsyncIterator[ChatEvent]) -> AsyncIterator[ChatEvent]:
        """Yield the events; while the first is late, a filler is said."""
        async with self._filler.over():
            first = await anext(events, None)
        if first is None:
            return
        yield first
        async for event in events:
            yield event
