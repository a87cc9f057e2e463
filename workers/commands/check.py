"""What looking at one need of a server yields."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One need: whether it is met, what was found, and how to mend it if it is not."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True
