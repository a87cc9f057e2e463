"""What the stub is told to do, by a model's name or the header `X-Stub`: pure.

`[stub-]NAME[@N][;key=value]…`: what is said or what goes wrong, after how many tokens, and how
fast. `stub` alone, and every name without `stub-` that says nothing here, is a plain answer.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

PREFIX: Final = "stub-"
STATUSES: Final = {
    "400": 400,
    "401": 401,
    "404": 404,
    "429": 429,
    "500": 500,
    "503": 503,
    "redirect": 307,
}
ANSWERS: Final = {
    "say": "the reply it was started with, or what stands behind `SAY: ` in the system prompt",
    "echo": "`You said: …`",
    "story": "sentence after sentence, without end",
    "repeat": "one sentence again and again, without end",
    "clock": "`Sent at N.` again and again, N in ns of the machine's monotonic clock",
    "tool": "a call of the first tool; with a tool's result at hand, `The tool said: …`",
    "tools": "a call of every tool, side by side",
    "scripted": "transcription: `what time is it`, without an engine",
    "odd": "speech in pieces of an odd number of bytes",
    "wav": "speech with a WAV header although PCM is asked for",
}
FAULTS: Final = {
    "stall": "nothing more; without @N not even a first byte",
    "keepalive": "nothing but a comment a second",
    "role-only": "nothing but comments and deltas without content",
    "blanks": "nothing but a comment and a blank of content a second",
    "reset": "the connection is reset",
    "close": "the answer ends in good form, but without a finish_reason",
    "no-done": "no [DONE] after the finish_reason (which is fine)",
    "broken-json": "half an event",
    "error": "an error inside the stream, or in place of the whole answer",
    "error-429": "the same, saying that there were too many requests",
    "only-done": "[DONE], and no finish_reason",
    "huge-line": "a line of 64 MB",
    "huge-content": "64 MB of content, no sentence twice, in events of 50 kB",
    "broken-tool": "a tool call whose arguments break off",
    "html": "status 200 and a page to sign in",
    "json": "status 200 and JSON instead of a stream",
    "gzip": "status 200 and 280 kB of gzip that unpack to 64 MB",
    "flaky": "status 503 at the first request for it, then plain answers",
    "no-usage": "status 400 to who asks for `stream_options`, else a plain answer",
    "redirect": "status 307",
    **{name: f"status {name}" for name in STATUSES if name.isdigit()},
}


class UnknownScriptError(ValueError):
    """A name or a value of a script that the stub does not know; the message says which."""


@dataclass(frozen=True)
class Script:
    """One answer's script. Times are in seconds; None is what the stub was started with."""

    name: str = "say"
    after: int | None = None
    """How many tokens of the reply, or pieces of speech, come before the fault."""
    ttft: float | None = None
    """How long the first token takes."""
    rate: float | None = None
    """Tokens, or pieces of speech of 100 ms, a second; 0 is as fast as it goes."""
    tokens: int | None = None
    """How long the reply is made, by saying it again or cutting it."""
    lasts: float | None = None
    """How long `stall` lasts before the reply goes on; None is for ever."""
    retry: int | None = None
    """`Retry-After` of a status 429 or 503, in seconds; None is no such header."""

    @property
    def is_fault(self) -> bool:
        """Whether something goes wrong."""
        return self.name in FAULTS


def read_script(text: str) -> Script:
    """Return what a model's name or a header asks for; raises UnknownScriptError."""
    words, *options = text.strip().split(";")
    name, _, after = words.partition("@")
    is_ours = name == "stub" or name.startswith(PREFIX)
    name = name.removeprefix(PREFIX)
    if name not in ANSWERS and name not in FAULTS:
        if is_ours and name != "stub":
            raise UnknownScriptError(f"the stub knows no `{name[:80]}`")
        return _with_options(Script(), options) if is_ours else Script()
    count = None if not after else _whole("@", after)
    return _with_options(Script(name, count), options)


def _with_options(script: Script, options: list[str]) -> Script:
    for option in filter(None, options):
        key, _, value = option.partition("=")
        match key.strip():
            case "ttft":
                script = replace(script, ttft=_number(key, value))
            case "rate":
                script = replace(script, rate=_number(key, value))
            case "tokens":
                script = replace(script, tokens=_whole(key, value))
            case "for":
                script = replace(script, lasts=_number(key, value))
            case "retry":
                script = replace(script, retry=_whole(key, value))
            case _:
                raise UnknownScriptError(f"the stub knows no option `{key[:80]}`")
    return script


def _number(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UnknownScriptError(f"`{key}` takes a number that is not negative")
    return number


def _whole(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):  # noqa: PLR2004  # a billion tokens
        raise UnknownScriptError(f"`{key}` takes a whole number that is not negative")
    return int(value)
