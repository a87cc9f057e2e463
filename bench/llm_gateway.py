"""What the LLM gateway adds to a stream: fifty at once, straight to the model and through it.

Straight and through are measured in one run, on warm connections of a plain reader. Fifty
streams are under way all the time; where one ends, the next begins. Beside it stands what a
burst adds, fifty that ask in the same instant: then each waits for the work of those before it.
The gateway is the real process with its Redis, its limits and its counts.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.figure import Figure, percentile
from bench.model import scripted_model
from bench.stream_reader import StreamReader, Timed
from tests.servers.parts import KEY, client_of, running_part
from workers.settings import Settings
from workers.supervision.embedded_redis import private_redis

STREAMS: Final = 50
TOKENS, QUICK_TOKENS = 500, 150
TIMES: Final = 3
RATE: Final = 50
"""Tokens a second of one stream: a fast model's."""
FIRST_S: Final = 0.5
"""How long the model takes to its first token."""
MODELS: Final = """
[limits]
requests_per_minute = 1_000_000
tokens_per_minute = 1_000_000_000
[models.told]
base_url = "{url}"
model = "{script}"
[models.burst]
base_url = "{url}"
model = "{burst}"
"""
SCRIPT: Final = f"stub-say;ttft={FIRST_S};rate={RATE};tokens={{}}"
BURST_TOKENS: Final = 10
BURST: Final = SCRIPT.format(BURST_TOKENS)


def run(*, quick: bool) -> list[Figure]:
    """Return what is added to the first token and to the whole of a stream."""
    tokens = QUICK_TOKENS if quick else TOKENS
    script = SCRIPT.format(tokens)
    with scripted_model() as upstream, _gateway(upstream, script) as gateway:
        return asyncio.run(_measure(upstream, script, gateway, tokens))


@contextmanager
def _gateway(upstream: str, script: str) -> Iterator[str]:
    """Run the LLM gateway with one model; yield its base URL."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        file = home / "models.toml"
        file.write_text(MODELS.format(url=upstream, script=script, burst=BURST))
        with private_redis(home) as redis_url:
            settings = Settings(
                _env_file=None, home=home / "home", redis_url=redis_url, llm_gateway_models=file
            )
            with (
                running_part(settings, "llm-gateway") as part,
                client_of(settings, part, "llm-gateway") as client,
            ):
                yield f"{str(client.base_url).rstrip('/')}/v1"


async def _measure(upstream: str, script: str, gateway: str, tokens: int) -> list[Figure]:
    places = (upstream, script), (gateway, "told")
    bursts: list[list[Timed]] = []
    kept: list[list[Timed]] = []
    for url, model in ((upstream, BURST), (gateway, "burst")) * 2:
        async with StreamReader.open(url, model, KEY, STREAMS) as reader:
            bursts.append(await reader.burst(BURST_TOKENS))
    for place in places:
        async with StreamReader.open(*place, KEY, STREAMS) as reader:
            kept.append(await reader.keep_asking(tokens, TIMES, FIRST_S + tokens / RATE))
    straight, through = kept
    cold, warm = (_added(bursts[number], bursts[number + 1], 0.95) for number in (0, 2))
    whole = [sum(each.whole_s for each in side) / len(side) for side in (straight, through)]
    return [
        Figure(
            f"LLM gateway, added to the first token, {STREAMS} streams at once, p95",
            _added(straight, through, 0.95),
            "ms",
            10,
            note=f"p50 {_added(straight, through, 0.5):.1f} ms; {STREAMS} in the same instant: "
            f"p95 {warm:.0f} ms, with connections to be made {cold:.0f} ms",
        ),
        Figure(
            f"LLM gateway, added to a whole stream of {tokens} tokens, {STREAMS} at once",
            100 * (whole[1] / whole[0] - 1),
            "%",
            5,
            note=f"{whole[0]:.2f} s straight, {whole[1]:.2f} s through",
        ),
    ]


def _added(straight: list[Timed], through: list[Timed], share: float) -> float:
    """Return by how many milliseconds this percentile of the first token is later."""
    return percentile(_firsts(through), share) - percentile(_firsts(straight), share)


def _firsts(streams: list[Timed]) -> list[float]:
    """Return the times to the first token, in milliseconds."""
    return [1000 * each.first_s for each in streams]
