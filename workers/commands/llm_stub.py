"""`edgewise llm-stub`: a stand-in for a model's server, to try what happens when one fails."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import json
import os
import sys
from typing import Annotated

import typer

from workers.commands.console import plain_errors, read_settings
from workers.llm_stub.script import ANSWERS, FAULTS

_NAMES = "\n\n".join(f"`stub-{name}`: {what}" for name, what in {**ANSWERS, **FAULTS}.items())
HELP = f"""Serve OpenAI's chat, transcription and speech endpoints without a model, until Ctrl-C.

It needs no key and keeps none. What it says and what goes wrong is chosen by the model's name, or \
by the header `X-Stub` of the same form: `stub`, `stub-NAME`, `stub-NAME@N` for a fault after N \
tokens (of speech: after N pieces of 100 ms), `stub-NAME;option=value`. Any other name is a plain \
answer.

Options: `ttft=` seconds to the first token, `rate=` tokens a second, `tokens=` length of the \
reply, `for=` seconds that a stall lasts, `retry=` seconds of Retry-After.

{_NAMES}
"""
EXAMPLES = """
  {url}

  curl -N {url}/chat/completions --json \\
    '{{"model": "stub;rate=5", "stream": true, "messages": [{{"role": "user", "content": "Hi"}}]}}'
  curl {url}/audio/speech -o hello.wav --json \\
    '{{"model": "stub", "voice": "ivy", "response_format": "wav", "input": "Hello."}}'
  curl {url}/audio/transcriptions -F model=stub -F file=@hello.wav

  EDGEWISE_MANAGED_LLM_BASE_URL={url} EDGEWISE_MANAGED_LLM_MODEL='stub-stall@5' edgewise up

  `edgewise llm-stub --help` lists what can go wrong. Ctrl-C stops it.
"""


def llm_stub(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Its port; 0 takes a free one.")
    ] = 8399,
    say: Annotated[
        str, typer.Option(help="The plain answer. `SAY: …` in a system prompt wins.")
    ] = "Hello there.",
    ttft: Annotated[
        float, typer.Option(min=0, help="Seconds to the first token, unless a name says.")
    ] = 0.0,
    rate: Annotated[
        float, typer.Option(min=0, help="Tokens a second, unless a name says; 0: at once.")
    ] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line once it listens: url, pid.")
    ] = False,
) -> None:
    """Serve a scripted model."""
    from workers.llm_stub.chat import Pace
    from workers.llm_stub.serve import serve

    pace = Pace(ttft_s=ttft, token_s=1 / rate if rate else 0.0)
    with plain_errors():
        _log_to_stderr()
        serve(host, port, say, pace, _as_json if as_json else _as_examples)


def _log_to_stderr() -> None:
    """Leave standard output to what says where it listens."""
    import structlog

    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(read_settings().log_level),
    )


def _as_json(url: str) -> None:
    typer.echo(json.dumps({"url": url, "pid": os.getpid()}))


def _as_examples(url: str) -> None:
    typer.echo(EXAMPLES.format(url=url))
