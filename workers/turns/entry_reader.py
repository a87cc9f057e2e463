"""The LLM entries of an agent as they are stored, and their keys, each opened for its call."""

import asyncio
import os
from collections import OrderedDict
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Engine

from workers.errors import CredentialsUnavailableError, ModelError, StorageUnavailableError
from workers.providers.chat import Endpoint
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyRingReader, read_key_ring
from workers.settings import Settings
from workers.storage.agents.llm_rows import StoredEntry, entries_of
from workers.storage.database import reading

KEPT: Final = 1_024
"""Of how many agents a worker remembers the entries, in their envelopes, for when the database
is away."""

READ_S: Final = 1.0
"""How long a turn waits for the database before it takes what it remembers."""

log = structlog.get_logger(__name__)


class EntryReader:
    """Reads entries from the database and opens their keys."""

    def __init__(self, engine: Engine, keys: KeyRingReader) -> None:
        self._engine = engine
        self._keys = keys
        self._kept: OrderedDict[str, list[StoredEntry]] = OrderedDict()

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> "EntryReader":
        """Return a reader with the keys of these settings; they are read when needed."""
        load = partial(read_key_ring, keys_folder(settings.home_path), os.environ)
        return cls(engine, KeyRingReader(load))

    async def read(self, agent_id: str) -> list[StoredEntry]:
        """Return the entries of an agent, at least one, their keys still closed.

        While the database is away, those that were read last serve. Raises ModelError.
        """
        try:
            async with asyncio.timeout(READ_S):
                return await asyncio.to_thread(self._rows, agent_id)
        except CredentialsUnavailableError as error:
            log.error("an LLM entry is missing", agent_id=agent_id, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
        except (StorageUnavailableError, TimeoutError) as error:
            log.warning("LLM entries cannot be read", agent_id=agent_id, reason=str(error))
            if agent_id in self._kept:
                return self._kept[agent_id]
        raise _unavailable()

    async def open(self, entry: StoredEntry) -> Endpoint:
        """Return where an entry's model is, with its key. Raises ModelError.

        URL and key are of one row, and the key opens for that URL alone. It takes microseconds,
        and the threads may all be waiting for a database that hangs.
        """
        binding = Binding(entry.account, entry.agent_id, entry.entry, entry.base_url)
        try:
            key = decrypt(self._keys.find, entry.api_key, binding)
        except CredentialsUnavailableError as error:
            log.error("an LLM key cannot be opened", agent_id=entry.agent_id, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
            raise _unavailable() from None
        return Endpoint(entry.base_url, entry.model, key)

    def _rows(self, agent_id: str) -> list[StoredEntry]:
        with reading(self._engine) as connection:
            rows = entries_of(connection, agent_id)
        self._kept.pop(agent_id, None)
        if not rows:
            raise CredentialsUnavailableError("the agent has no stored key")
        self._kept[agent_id] = rows
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return rows


def _unavailable() -> ModelError:
    return ModelError(
        "credentials_unavailable",
        "the key of the agent's model cannot be opened; set it anew",
        retryable=False,
    )
