"""The engine process of espeak-ng: `python -m workers.providers.speech.espeak_process SOCKET`.

espeak-ng is GPL-3.0. It is loaded here and nowhere else; what crosses to the worker is
text one way and PCM the other.
"""

import ctypes
import json
from collections.abc import Iterator
from typing import Any, Final

from workers.providers.speech.engine_host import Engine, serve
from workers.providers.speech.engine_wire import Frame

SPEAK: Final = b"s"
"""JSON with `text`, `voice` and `rate` (words a minute); answered by AUDIO… then END."""
AUDIO: Final = b"a"
"""PCM, 16-bit mono at the engine's rate."""
END: Final = b"e"

ENGINE_RATE: Final = 22_050
FIRST_BYTES: Final = ENGINE_RATE // 10 * 2
"""The first 100 ms go out alone, so that the first packet need not wait."""
PIECE_BYTES: Final = ENGINE_RATE // 5 * 2
"""200 ms: who resamples and encodes it keeps a shared loop for a millisecond only."""
TEXT_MAX: Final = 2_000

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
        self._callback = _CALLBACK(self._collect)
        library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._spoken.append(ctypes.string_at(samples, count * 2))
        return 0

    def __call__(self, frame: Frame) -> Iterator[Frame]:
        """Synthesise the sentence (about 2 ms for 3 s of speech), then send it in pieces."""
        order = json.loads(frame.payload)
        text = str(order["text"])[:TEXT_MAX].encode()
        self._spoken.clear()
        if self._library.espeak_SetVoiceByName(str(order["voice"]).encode()):
            raise ValueError("the engine has no such voice")
        self._library.espeak_SetParameter(_RATE, int(order["rate"]), 0)
        if self._library.espeak_Synth(text, len(text) + 1, 0, _CHARACTERS, 0, _UTF8, None, None):
            raise RuntimeError("the engine does not speak")
        pcm = b"".join(self._spoken)
        yield from (Frame(AUDIO, piece) for piece in _pieces(pcm))
        yield Frame(END)


def _pieces(pcm: bytes) -> Iterator[bytes]:
    if pcm:
        yield pcm[:FIRST_BYTES]
    for start in range(FIRST_BYTES, len(pcm), PIECE_BYTES):
        yield pcm[start : start + PIECE_BYTES]


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
