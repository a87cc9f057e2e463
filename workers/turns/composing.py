"""The agent's side of a turn: from what was said to the entries of the reply.

The model writes in one task and the voice speaks in another, so the first sentence is heard
while the rest is still being written.
"""

import asyncio
from collections.abc import Awaitable, Callable

from schemas.chat import ChatRequest
from schemas.turn import Measured, ReplyAudio, Transcript, TurnError
from workers.errors import ModelError, TranscriptionError
from workers.turns.due_first import Playing
from workers.turns.filler import Aside, Filler
from workers.turns.groups import first_error
from workers.turns.lines import apology, filler, not_understood
from workers.turns.on_record import OnRecord
from workers.turns.ports import Pace, Ports, Turn
from workers.turns.prompt import joined, messages, system_message
from workers.turns.sentences import SentenceCutter
from workers.turns.speakable import speakable
from workers.turns.speculation import Held, Status
from workers.turns.spoken import Placement
from workers.turns.timeline import Timeline
from workers.turns.tool_rounds import ToolRounds
from workers.turns.unsaid import Unsaid
from workers.turns.voicing import voiced
from workers.turns.writing import Writing


class Composer:
    """Prepares the reply of one turn; each call of a method is a new guess at it."""

    def __init__(
        self, turn: Turn, ports: Ports, timeline: Timeline, filler_s: float = Pace.filler_s
    ) -> None:
        self._turn = turn
        self._ports = ports
        self._timeline = timeline
        self._filler_s = filler_s
        self._awaited = asyncio.Event()

    def await_reply(self) -> None:
        """Take in that the user is done: from now on silence is one that he hears."""
        self._awaited.set()

    async def greet(self, held: Held) -> Status:
        """Speak the greeting as it is written."""
        cutter, unsaid = SentenceCutter(), Unsaid()
        sentences = [*cutter.push(self._turn.greeting), *cutter.flush()]
        if not sentences:
            return "ignored"
        for sentence in sentences:
            unsaid.put(sentence)
        unsaid.end()
        return await _Voice(self._turn, self._ports, self._timeline, held).read_out(unsaid)

    async def answer(self, hear: Callable[[], Awaitable[str]], held: Held) -> Status:
        """Answer what `hear` returns; nothing heard, nothing said. Raises SynthesisError."""
        self._timeline.forget_guess()
        voice = _Voice(self._turn, self._ports, self._timeline, held)
        try:
            said = await hear()
        except TranscriptionError as error:
            await held.put(failure(self._turn, error.code, str(error), retryable=True))
            line = not_understood(self._turn.lines, begun=voice.has_begun)
            await voice.say(line, is_aside=True)
            return "failed"
        self._timeline.mark("transcript")
        if not said:
            return "ignored"
        await held.put(Transcript(attempt=self._turn.attempt, text=said, final=True))
        return await self._speak(await self._request(said, None), voice, held)

    async def reply(self, instructions: str | None, held: Held) -> Status:
        """Speak without being spoken to; `instructions` hold for this reply."""
        voice = _Voice(self._turn, self._ports, self._timeline, held)
        return await self._speak(await self._request(None, instructions), voice, held)

    async def _request(self, said: str | None, instructions: str | None) -> ChatRequest:
        """Return what the model is asked."""
        turn, rule = self._turn, self._turn.prompt_rule
        history = await self._ports.conversation.read()
        system = system_message(turn.system_prompt, rule.suffix, instructions)
        asked = joined(messages(system, history, said, rule))
        return ChatRequest(asked, turn.session_id, turn.turn_id, turn.attempt)

    async def _speak(self, request: ChatRequest, voice: "_Voice", held: Held) -> Status:
        """Say what the model writes, each sentence as soon as it is there."""
        unsaid = Unsaid()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(request, unsaid, held), name="reply-words")
                reading = group.create_task(voice.read_out(unsaid), name="reply-voice")
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        return reading.result()

    async def _write(self, request: ChatRequest, unsaid: Unsaid, held: Held) -> None:
        """Ask the model, call tools for it, and hand on what it writes."""
        line = filler(self._turn.lines)
        late = Filler(unsaid.put, line, self._filler_s, self._awaited)
        turn = self._turn
        chat = OnRecord(self._ports.chat, turn.attempt, turn.prompt_rule.suffix, held.put)
        writing = Writing(chat, unsaid, late, self._timeline)
        rounds = ToolRounds(self._ports.tools, writing, self._awaited, late, held.put)
        try:
            await rounds.run(request)
            unsaid.end()
        except ModelError as error:
            self._timeline.failed(error)
            unsaid.end(error)


class _Voice:
    """Says sentences, in order, into the queue of a guess."""

    def __init__(self, turn: Turn, ports: Ports, timeline: Timeline, held: Held) -> None:
        self._turn = turn
        self._tts = ports.tts
        self._timeline = timeline
        self._held = held
        self._placement = Placement(turn.spoken)
        self._playing = Playing(ports.encoding, asyncio.get_running_loop().time)
        self._begun = False
        self._was_begun = any(not spoken.is_aside for spoken in turn.spoken)

    @property
    def has_begun(self) -> bool:
        """True once words of the reply were said, by this attempt or an earlier one."""
        return self._begun or self._was_begun

    async def read_out(self, unsaid: Unsaid) -> Status:
        """Say all of it; after an error of the model, say so."""
        while (sentence := await unsaid.next()) is not None:
            if isinstance(sentence, Aside):
                await self._say(sentence.text, is_aside=True)
            elif text := speakable(sentence):
                await self.say(text)
        if unsaid.error is not None:
            return await self._apologise(unsaid.error)
        if not self._begun:
            return await self._apologise(
                ModelError("empty", "the reply has no words in it", retryable=False)
            )
        return "completed"

    async def say(self, text: str, *, is_aside: bool = False) -> None:
        """Say one sentence, unless it was heard already; an aside is no words of the model's."""
        self._timeline.mark_first("first_sentence")
        if not self._begun:
            self._begun = True
            await self._measure()
        await self._say(text, is_aside=is_aside)

    async def _measure(self) -> None:
        """Tell who answers, in case the reply is cut short."""
        metrics = self._timeline.metrics()
        if metrics.model is not None:
            await self._held.put(Measured(attempt=self._turn.attempt, metrics=metrics))

    async def _say(self, text: str, *, is_aside: bool = False) -> None:
        place = self._placement.place(text)
        if place is None:
            return
        turn = self._turn
        async for entry in voiced(
            text,
            place,
            tts=self._tts,
            voice=turn.voice,
            attempt=turn.attempt,
            is_aside=is_aside,
            playing=self._playing,
        ):
            if isinstance(entry, ReplyAudio) and self._begun:
                self._timeline.mark_first("first_audio")
            await self._held.put(entry)

    async def _apologise(self, error: ModelError) -> Status:
        await self._held.put(
            failure(
                self._turn,
                error.failure,
                str(error),
                retryable=error.can_retry,
                status_code=error.status_code,
            )
        )
        line = apology(self._turn.lines, error.failure, begun=self.has_begun)
        await self.say(line, is_aside=True)
        return "failed"


def failure(
    turn: Turn, code: str, message: str, *, retryable: bool, status_code: int | None = None
) -> TurnError:
    """Return the entry that tells of a failure."""
    return TurnError(
        attempt=turn.attempt,
        code=code,
        message=message,
        retryable=retryable,
        status_code=status_code,
    )
