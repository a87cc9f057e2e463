"""The process of pocketsphinx: `python -m workers.providers.speech.sphinx_process SOCKET`."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from workers.providers.speech.engine_host import Engine, serve
from workers.providers.speech.engine_wire import Frame

AUDIO: Final = b"a"
"""Speech, 16 kHz mono 16-bit; answered by PARTIAL."""
FINISH: Final = b"f"
"""The last speech of a segment; answered by TEXT."""
PARTIAL: Final = b"p"
TEXT: Final = b"t"


LONGEST_WORD_FRAMES: Final = 120
"""Frames are 10 ms."""
_VARIANT: Final = re.compile(r"\(\d+\)$")
"""Marks a word's further pronunciations: `the(2)`."""

CEPSTRAL_MEAN: Final = "39.6,1.5,-3.5,8.1,-3.5,-0.2,-5.9,-2.0,-2.4,1.4,-3.4,-0.1,0"
"""What the decoder takes for the usual sound of a voice and its microphone.

It belongs to the loudness that `speech_level` gives. It is the mean over the five folders of
recordings in Debian's pocketsphinx-testdata and alsa-utils, after gate, Opus and level, each
folder counting the same. As these 21 recordings cannot judge a mean made of themselves, each
folder was tried with the mean of the other four: in three rooms of growing noise 7.3 of 21 came
out word for word, 29.5 % of the words wrong. Without the level and with a mean that did include
them it was 5.7 and 29.5 %. For voices 20 dB softer, in the quietest room alone, 38.8 % of the words
were wrong without the level and 26.4 % with it.
"""


class Sphinx:
    """Answers speech with what it understood so far."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._in_utterance = False

    def __call__(self, frame: Frame) -> Iterator[Frame]:
        """Decode; a segment begins with the first speech after the last one's end."""
        if not self._in_utterance:
            # The mean that the last speaker left behind would colour what this one says.
            self._decoder.set_cmn(CEPSTRAL_MEAN)
            self._decoder.start_utt()
            self._in_utterance = True
        if frame.payload:
            self._decoder.process_raw(frame.payload)
        if frame.kind == FINISH:
            self._decoder.end_utt()
            self._in_utterance = False
        text = words(self._decoder.seg() or ())
        yield Frame(TEXT if frame.kind == FINISH else PARTIAL, text.encode())


def words(segments: Iterable[Any]) -> str:
    """Return the words among the segments of a hypothesis.

    Steady noise comes out as one short word that lasts for ever ("if", for two seconds of
    it); in 22 recordings of people no word lasted over 0.9 s.
    """
    said = [
        _VARIANT.sub("", segment.word)
        for segment in segments
        if segment.word[0] not in "<["
        and segment.end_frame - segment.start_frame < LONGEST_WORD_FRAMES
    ]
    return " ".join(said)


def load() -> Engine:
    """Load the English model that the package carries.

    The second and third pass are off: on the recordings tried they got no more words right,
    and they take 60 to 220 ms after the last word where the first pass takes 5 to 80.
    """
    from pocketsphinx import Decoder, set_loglevel  # noqa: PLC0415  # loaded only where it runs

    set_loglevel("FATAL")
    return Sphinx(Decoder(samprate=16_000, fwdflat=False, bestpath=False))


if __name__ == "__main__":
    serve(load)
