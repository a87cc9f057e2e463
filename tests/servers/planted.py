"""Looking for a planted secret in everything that a system has written."""

import base64
from pathlib import Path

from redis import Redis

from tests.servers.waiting import wait_for

MARK = "planted7Qx9c41eV"
"""In every planted key; searched for in clear and in the codings that software falls into."""


def planted(name: str) -> str:
    """Return a key of this name that carries the mark."""
    return f"sk-{name}-{MARK}-{name}"


def forms() -> dict[str, bytes]:
    raw = MARK.encode()
    coded = {
        f"base64 at {shift}": base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]
        for shift in range(3)
    }
    return {"clear": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(), **coded}


def found_in(content: bytes) -> list[str]:
    """Return in which forms the mark is there."""
    return [name for name, form in forms().items() if form in content]


def found_under(folder: Path) -> dict[str, list[str]]:
    """Return the files below a folder that hold the mark, and in which forms."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            hits = found_in(file.read_bytes())
            if hits:
                found[str(file)] = hits
    return found


def found_in_redis(redis: Redis) -> dict[str, list[str]]:
    """Return which keys and files of a Redis hold the mark, and in which forms.

    Its files are searched as they were written, and again once it has written them anew from
    what it holds. It compresses nothing for that, for what is compressed would not be found.
    """
    redis.config_set("rdbcompression", "no")
    contents = {str(key): key + (redis.dump(key) or b"") for key in redis.scan_iter()}
    found = {key: hits for key, content in contents.items() if (hits := found_in(content))}
    folder = Path(str(redis.config_get("dir")["dir"]))
    assert list(folder.rglob("appendonly*.aof*")), "it writes what it does to no file"
    found |= found_under(folder)
    redis.bgrewriteaof()
    wait_for("the file is written anew", lambda: _has_rewritten(redis), within=30)
    return found | found_under(folder)


def _has_rewritten(redis: Redis) -> bool:
    told = redis.info("persistence")
    assert told["aof_last_bgrewrite_status"] == "ok"
    return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])
