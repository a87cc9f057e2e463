"""Which of the operator's endpoints the turn workers leave alone because they failed too often."""

import asyncio
import contextlib
from typing import Final

from redis.exceptions import RedisError

from workers.commands.check import Check
from workers.settings import Settings
from workers.storage.redis_client import connect
from workers.storage.turns.breakers import BreakerRule, Breakers, Circuit, Kind, endpoint_name
from workers.supervision.addresses import with_redis_of_home

NAME: Final = "endpoints left alone"
MEND: Final = (
    "look for llm_try_failed, stt_failed and tts_failed in the log of the turn workers: "
    "they say why; docs/when-the-model-fails.md and docs/speech.md what to do"
)


def check_circuits(settings: Settings) -> Check:
    """Read the circuit breakers of the managed model and of the speech engines over HTTP."""
    settings = with_redis_of_home(settings)
    if settings.redis_url is None:
        return Check(NAME, ok=True, found="not known: no Redis is running", needed=False)
    try:
        circuits = asyncio.run(_read(settings))
    except (RedisError, OSError, ValueError) as error:
        found = f"not known: {type(error).__name__}"
        return Check(NAME, ok=True, found=found, needed=False)
    resting = [_said(name, circuit) for name, circuit in circuits.items() if _rests(circuit)]
    return Check(NAME, not resting, "; ".join(resting) or "none", MEND, needed=False)


async def _read(settings: Settings) -> dict[str, Circuit]:
    async with contextlib.aclosing(connect(settings)) as redis:
        await redis.ping()
        return {
            name: (await Breakers(redis, BreakerRule(), kind).circuits([endpoint]))[0]
            for name, kind, endpoint in _endpoints(settings)
        }


def _endpoints(settings: Settings) -> list[tuple[str, Kind, str]]:
    """Return the endpoints that the operator has named, as `Breakers` knows them."""
    found: list[tuple[str, Kind, str]] = []
    if settings.managed_llm_base_url is not None:
        model = settings.managed_llm_base_url, settings.managed_llm_model
        found.append(("managed model", "llm", endpoint_name(None, *model)))
    if settings.stt_engine == "openai" and settings.stt_base_url is not None:
        engine = settings.stt_base_url, settings.stt_model
        found.append(("speech-to-text", "stt", endpoint_name(None, *engine)))
    if settings.tts_engine == "openai" and settings.tts_base_url is not None:
        engine = settings.tts_base_url, settings.tts_model
        found.append(("text-to-speech", "tts", endpoint_name(None, *engine)))
    return found


def _rests(circuit: Circuit) -> bool:
    return circuit.state in ("open", "half_open")


def _said(name: str, circuit: Circuit) -> str:
    if not circuit.left_s:
        return f"{name}: to be tried by the next turn"
    return f"{name}: for {circuit.left_s:.0f} s more"
