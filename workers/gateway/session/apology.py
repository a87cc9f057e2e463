"""The line that the gateway says itself when no worker is there to say anything."""

from functools import cache
from importlib.resources import files
from typing import Final

from schemas.apology import BUILT_IN, Apology
from schemas.audio import unpack_packets
from schemas.turn import MAX_ATTEMPTS, ReplyAudio, ReplyText

SENTENCE: Final = 1_000_000
"""Its place in a reply: behind whatever the workers said."""


@cache
def built_in() -> Apology:
    """Return the line of an agent that has none of its own, as espeak-ng speaks it."""
    stored = files("workers.gateway.session").joinpath("data", "apology.opus_packets")
    return Apology(wording=BUILT_IN, packets=unpack_packets(stored.read_bytes()))


def as_said(apology: Apology) -> tuple[ReplyText, ReplyAudio]:
    """Return the line as a worker would have sent it."""
    text = ReplyText(
        attempt=MAX_ATTEMPTS, sentence=SENTENCE, text=apology.wording.text, is_aside=True
    )
    audio = ReplyAudio(
        attempt=MAX_ATTEMPTS, sentence=SENTENCE, first=0, last=True, packets=apology.packets
    )
    return text, audio
