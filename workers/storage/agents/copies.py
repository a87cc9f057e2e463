"""The copy of an agent in Redis: what it looks like, and how no older one replaces it."""

from typing import Final

from workers.storage.agents.rows import StoredAgent

KEEP_S: Final = 24 * 3600
"""How long a copy serves while the database is away, in seconds."""
FRESH_S: Final = 30
"""How long a copy is taken without a look into the database, in seconds."""

GONE_S: Final = 60
"""How long it is remembered that an agent was removed, in seconds."""

STORE_COPY: Final = """
local held = redis.call('HGET', KEYS[1], 'version')
if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'body', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
"""Lua: keep this copy unless a newer version is held (a slow reader may come late)."""


RENEW_COPY: Final = f"if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end\n{STORE_COPY}"
"""Lua: as `STORE_COPY`, but only where a copy is held: nobody reads the others yet."""


def copy_key(agent_id: str) -> str:
    """Name the Redis hash that holds the copy of an agent."""
    return f"agent:{agent_id}"


def copy_arguments(stored: StoredAgent) -> tuple[int, str, int]:
    """Return the arguments of `STORE_COPY` for this agent."""
    return stored.version, stored.model_dump_json(), KEEP_S


def gone_arguments(stored: StoredAgent) -> tuple[int, str, int]:
    """Return the arguments of `STORE_COPY` that replace the copy of an agent that was removed.

    What they store is no copy, and newer than every copy that a slow reader may come with.
    """
    return stored.version + 1, "", GONE_S


def read_copy(body: bytes | None) -> StoredAgent | None:
    """Read a copy; None where there is none, or one that another release wrote."""
    if body is None:
        return None
    try:
        return StoredAgent.model_validate_json(body)
    except ValueError:
        return None


def is_fresh(remaining_s: int) -> bool:
    """Tell by the remaining life of a copy whether it was looked up lately."""
    return remaining_s > KEEP_S - FRESH_S
