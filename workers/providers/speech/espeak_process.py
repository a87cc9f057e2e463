"""The engine process of espeak-ng: `python -m workers.providers.speech.espeak_process SOCKET`.

espeak-ng is GPL-3.0. It is loaded here and nowhere else; what crosses to the worker is
text one way, and PCM or Opus the other. Encoding is most of what a reply costs; done here, it
needs neither the event loop nor the interpreter lock that all turns of a worker share.
"""

import ctypes
import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from edge.media.opus import OpusEncoder
from edge.media.resample import Resampler
from schemas.audio import REPLY_RATE, OpusForm, pack_packets
from workers.providers.speech.engine_host import Engine, serve
from workers.providers.speech.engine_wire import Frame

SPEAK: Final = b"s"
"""JSON with `text`, `voice` and `rate` (words a minute); answered by AUDIO… then END."""
AUDIO: Final = b"a"
"""PCM, 16-bit mono at the engine's rate."""
END: Final = b"e"
ENCODE: Final = b"o"
"""As SPEAK, with `id` and `form`, an `OpusForm`; answered by MORE, LAST or GONE."""
GO_ON: Final = b"n"
"""JSON with the `id` of a sentence that there was MORE of; answered in the same way."""
MORE: Final = b"m"
"""The next Opus packets of a sentence, as `schemas.audio.pack_packets` joins them."""
LAST: Final = b"l"
"""The same, the last of the sentence."""
GONE: Final = b"g"
"""This process does not know that sentence: it is to be begun anew."""

ENGINE_RATE: Final = 22_050
FIRST_BYTES: Final = ENGINE_RATE // 10 * 2
"""The first 100 ms go out alone, so that the first packet need not wait."""
PIECE_BYTES: Final = ENGINE_RATE // 5 * 2
"""200 ms: who resamples and encodes it keeps a shared loop for a millisecond only."""
TEXT_MAX: Final = 2_000

LOTS: Final = (ENGINE_RATE // 2, ENGINE_RATE)
"""The first half second is made alone, then a second, then two each: 2, 4 and 8 ms."""
LOT: Final = 2 * ENGINE_RATE
MAX_OPEN: Final = 128
"""Sentences that are begun and not done; those that nobody has gone on with for longest go."""

_SYNCHRONOUS: Final = 2
_UTF8: Final = 1
_CHARACTERS: Final = 1
_RATE: Final = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """Speaks one sentence after another."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._spoken: list[bytes] = []
        self._open: OrderedDict[int, Iterator[Frame]] = OrderedDict()
        self._callback = _CALLBACK(self._collect)
        library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._spoken.append(ctypes.string_at(samples, count * 2))
        return 0

    def __call__(self, frame: Frame) -> Iterator[Frame]:
        """Answer SPEAK, ENCODE or GO_ON."""
        order = json.loads(frame.payload)
        if frame.kind == SPEAK:
            yield from (Frame(AUDIO, piece) for piece in _pieces(self._speak(order)))
            yield Frame(END)
            return
        if frame.kind == ENCODE:
            pcm = self._speak(order)
            self._open[order["id"]] = _encoded(pcm, OpusForm(**order["form"]))
        yield self._next(order["id"])

    def _next(self, sentence: int) -> Frame:
        """Return the next packets of a sentence that is begun."""
        lots = self._open.pop(sentence, None)
        if lots is None:
            return Frame(GONE)
        frame = next(lots)
        if frame.kind == MORE:
            self._open[sentence] = lots
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return frame

    def _speak(self, order: dict[str, Any]) -> bytes:
        """Synthesise the sentence: about 2 ms for 3 s of speech."""
        text = str(order["text"])[:TEXT_MAX].encode()
        self._spoken.clear()
        if self._library.espeak_SetVoiceByName(str(order["voice"]).encode()):
            raise ValueError("the engine has no such voice")
        self._library.espeak_SetParameter(_RATE, int(order["rate"]), 0)
        if self._library.espeak_Synth(text, len(text) + 1, 0, _CHARACTERS, 0, _UTF8, None, None):
            raise RuntimeError("the engine does not speak")
        return b"".join(self._spoken)


def _pieces(pcm: bytes) -> Iterator[bytes]:
    if pcm:
        yield pcm[:FIRST_BYTES]
    for start in range(FIRST_BYTES, len(pcm), PIECE_BYTES):
        yield pcm[start : start + PIECE_BYTES]


def _encoded(pcm: bytes, form: OpusForm) -> Iterator[Frame]:
    """Yield the sentence as frames of packets, each made when it is asked for."""
    resampler = Resampler(ENGINE_RATE, REPLY_RATE)
    encoder = OpusEncoder(REPLY_RATE, form)
    rest = np.frombuffer(pcm, dtype=np.int16)
    for size in itertools.chain(LOTS, itertools.repeat(LOT)):
        packets = encoder.encode(resampler.push(rest[:size]))
        rest = rest[size:]
        if not rest.size:
            packets += [*encoder.encode(resampler.flush()), *encoder.flush()]
            yield Frame(LAST, pack_packets(tuple(packets)))
            return
        yield Frame(MORE, pack_packets(tuple(packets)))


def load() -> Engine:
    """Load the library and voices that the `espeakng-loader` package carries."""
    import espeakng_loader  # noqa: PLC0415  # loaded only where it runs

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
    if rate != ENGINE_RATE:
        raise RuntimeError("espeak-ng does not start at 22,050 Hz")
    return Espeak(library)


if __name__ == "__main__":
    serve(load)
