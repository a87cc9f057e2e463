"""Which voice of a speech endpoint is which of ours: `EDGEWISE_TTS_VOICE`."""

from collections.abc import Mapping

from schemas.agent import VOICES
from workers.errors import ConfigurationError


def read_voices(text: str) -> Mapping[str, str]:
    """Read `nova`, one voice for all, or `ivy=nova,oliver=onyx`, where the rest get the first.

    Returns the endpoint's voice for each of ours; raises ConfigurationError.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise _refused("it is empty")
    if len(items) == 1 and "=" not in items[0]:
        return dict.fromkeys(VOICES, items[0])
    given: dict[str, str] = {}
    for item in items:
        ours, equals, theirs = (part.strip() for part in item.partition("="))
        if not equals or not theirs or ours not in VOICES:
            raise _refused(f"`{item}` is none of {', '.join(VOICES)}, `=` and a voice")
        given[ours] = theirs
    first = next(iter(given.values()))
    return {ours: given.get(ours, first) for ours in VOICES}


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(f"EDGEWISE_TTS_VOICE: {why}")
