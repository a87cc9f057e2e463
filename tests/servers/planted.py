"""Looking for a planted secret in everything that a system has written."""

import base64
from pathlib import Path

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
