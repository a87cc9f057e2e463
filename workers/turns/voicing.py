"""One sentence into reply entries: its words, then its speech as Opus packets."""

from collections.abc import AsyncIterator
from typing import Final

from edge.media.opus import OpusEncoder
from schemas.audio import REPLY_RATE, OpusForm
from schemas.turn import ReplyAudio, ReplyText
from workers.turns.due_first import Playing
from workers.turns.ports import SpeaksOpus, TextToSpeech
from workers.turns.spoken import Place

FORM: Final = OpusForm(bitrate=28_000, complexity=1, application="audio")
"""Half the CPU of `voip`, and nearer to the voice with and without loss; docs/performance.md has
figures."""
MAX_PACKETS: Final = 25
"""Packets in one entry: half a second."""


async def voiced(
    text: str,
    place: Place,
    *,
    tts: TextToSpeech,
    voice: str,
    attempt: int,
    playing: Playing,
    is_aside: bool = False,
) -> AsyncIterator[ReplyText | ReplyAudio]:
    """Yield the entries of a sentence, without the packets that were heard already.

    Waits first while the listener is far behind: an engine at work would wait as well.
    Raises SynthesisError.
    """
    await playing.room()
    yield ReplyText(attempt=attempt, sentence=place.number, text=text, is_aside=is_aside)
    position = 0
    waiting: list[bytes] = []
    is_first = True
    async for packets in opus_packets(text, tts, voice, playing):
        if is_first:
            # The listener waits for it; only of what follows the last one is to say so.
            yield _entry(attempt, place, 0, packets, last=False)
            position, is_first = len(packets), False
            continue
        if waiting:
            yield _entry(attempt, place, position, waiting, last=False)
            position += len(waiting)
        waiting = packets
    yield _entry(attempt, place, position, waiting, last=True)


def _entry(
    attempt: int, place: Place, position: int, packets: list[bytes], *, last: bool
) -> ReplyAudio:
    heard = min(max(place.heard - position, 0), len(packets))
    return ReplyAudio(
        attempt=attempt,
        sentence=place.number,
        first=position + heard,
        last=last,
        packets=tuple(packets[heard:]),
    )


async def opus_packets(
    text: str, tts: TextToSpeech, voice: str, playing: Playing
) -> AsyncIterator[list[bytes]]:
    """Yield the speech of a sentence as lots of up to 25 packets of 20 ms."""
    if isinstance(tts, SpeaksOpus):
        async with tts.packets(text, voice, FORM, playing.turn) as parts:
            async for packets in parts:
                playing.made(len(packets))
                for start in range(0, len(packets), MAX_PACKETS):
                    yield packets[start : start + MAX_PACKETS]
        return
    encoder = OpusEncoder(REPLY_RATE, FORM)
    async with tts.speak(text, voice) as pieces:
        async for samples in pieces:
            # Other turns share this loop, and a fast engine would never let it go.
            await playing.turn()
            packets = encoder.encode(samples)
            playing.made(len(packets))
            for start in range(0, len(packets), MAX_PACKETS):
                yield packets[start : start + MAX_PACKETS]
    if rest := encoder.flush():
        yield rest
