"""Which variables look like settings and are none: misspelt, they would be passed over."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from workers.commands.check import Check
from workers.secrets.key_ring import KEYS_VARIABLE
from workers.secrets.sealing import PUBLIC_VARIABLE
from workers.secrets.secret_box import BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_VARIABLE
from workers.settings import Settings

PREFIX: Final = "EDGEWISE_"
OF_DEVICES: Final = frozenset(
    {
        "agent",
        "barge_in",
        "connect_s",
        "degraded_s",
        "input_device",
        "lost_s",
        "no_answer_s",
        "output_device",
        "server",
        "tools",
        "vad_threshold",
    }
)
"""What a device reads besides; commands read its `server`."""
KNOWN: Final = frozenset(
    {f"{PREFIX}{name.upper()}" for name in OF_DEVICES | set(Settings.model_fields)}
    | {KEYS_VARIABLE, PUBLIC_VARIABLE, PRIVATE_VARIABLE, BOX_VARIABLE}
)


def check_names(_settings: Settings) -> Check:
    """Look for variables of ours in the environment and `.env` that nothing reads."""
    env_file = dotenv_values(".env") if Path(".env").is_file() else {}
    unknown = {"environment": names_unknown(os.environ), ".env": names_unknown(env_file)}
    found = "; ".join(f"{', '.join(names)} ({where})" for where, names in unknown.items() if names)
    close = {nearest(name) for names in unknown.values() for name in names}
    meant = ", ".join(sorted(filter(None, close)))
    mend = f"nothing reads them: is {meant} meant?" if meant else "nothing reads them: remove them"
    return Check("names of settings", not found, found or "all are known", mend, needed=False)


def names_unknown(given: Iterable[str]) -> list[str]:
    """Return the names that begin like ours and are none, in order."""
    return sorted(
        name for name in given if name.upper().startswith(PREFIX) and name.upper() not in KNOWN
    )


def nearest(name: str) -> str | None:
    """Return the setting that a name is most like, None where it is like none."""
    return next(
        iter(difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.85)), None
    )
