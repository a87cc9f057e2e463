"""Changes that were sealed for a pair whose private key is lost for good."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from workers.errors import CredentialsUnavailableError
from workers.secrets.unsealing import read_private_keys, sealed_for
from workers.storage.database import writing
from workers.storage.events.resting import give_up_waiting, waiting_for_keys

BATCH: Final = 500


def give_up_lost(engine: Engine, folder: Path, environment: Mapping[str, str]) -> int:
    """Let changes be dead that wait for a private key which is not here; return how many.

    What follows them of their agents then goes on. Raises KeysUnavailableError.
    """
    here = read_private_keys(folder, environment).keys()
    count, after = 0, ""
    while True:
        with writing(engine) as connection:
            waiting = waiting_for_keys(connection, after, BATCH)
            lost = [
                event_id
                for event_id, sealed in waiting
                if any(_pair(text) not in here for text in sealed if text is not None)
            ]
            give_up_waiting(connection, lost, datetime.now(UTC))
        if not waiting:
            return count
        count, after = count + len(lost), waiting[-1][0]


def _pair(sealed: str) -> str | None:
    try:
        return sealed_for(sealed)
    except CredentialsUnavailableError:
        return None
