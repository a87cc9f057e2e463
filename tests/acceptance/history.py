"""Reads the conversations that a system remembers."""

import json
from typing import Any

from tests.servers.system import System

PATTERN = "session:*:history"


def conversations(system: System) -> dict[str, list[dict[str, Any]]]:
    """Return the turns of every session that Redis holds, oldest first, by session id."""
    with system.redis() as redis:
        return {
            key.decode().split(":")[1]: [json.loads(entry) for entry in redis.lrange(key, 0, -1)]
            for key in redis.scan_iter(PATTERN, count=1_000)
        }


def turns_under_way(system: System) -> set[str]:
    """Return the ids of the turns whose streams Redis holds."""
    with system.redis() as redis:
        return {key.decode().split(":")[1] for key in redis.scan_iter("turn:*:input", count=1_000)}
