"""The line that the gateway says itself when no worker is there to say anything."""

from functools import cache
from importlib.resources import files
from typing import Final

from schemas.audio import unpack_packets
from schemas.turn import MAX_ATTEMPTS, ReplyAudio, ReplyText

TEXT: Final = "Sorry, something went wrong here. Please say that again."
SENTENCE: Final = 1_000_000
"""Its place in a reply: behind whatever the workers said."""


@cache
def _packets() -> tuple[bytes, ...]:
    """Return the line as espeak-ng's voice `ivy` speaks it, in 20 ms packets of Opus."""
    stored = files("workers.gateway.session").joinpath("data", "apology.opus_packets")
    return unpack_packets(stored.read_bytes())


def apology() -> tuple[ReplyText, ReplyAudio]:
    """Return the line as a worker would have sent it."""
    text = ReplyText(attempt=MAX_ATTEMPTS, sentence=SENTENCE, text=TEXT, is_aside=True)
    audio = ReplyAudio(
        attempt=MAX_ATTEMPTS, sentence=SENTENCE, first=0, last=True, packets=_packets()
    )
    return text, audio
