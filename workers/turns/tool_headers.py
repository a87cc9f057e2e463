"""The headers of a tool, their values opened just before the call."""

import asyncio
import os
from functools import partial

import structlog
from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.tool import HttpToolView, ToolView
from workers.errors import CredentialsUnavailableError, StorageUnavailableError, ToolError
from workers.secrets.envelope import decrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyRingReader, read_key_ring
from workers.secrets.places import place_of_header
from workers.settings import Settings
from workers.storage.agents.tool_rows import headers_of
from workers.storage.database import reading

Headers = tuple[tuple[str, SecretStr], ...]

log = structlog.get_logger(__name__)


class HeaderReader:
    """Reads headers from the database and opens their values."""

    def __init__(self, engine: Engine, keys: KeyRingReader) -> None:
        self._engine = engine
        self._keys = keys

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> "HeaderReader":
        """Return a reader with the keys of these settings; they are read when needed."""
        load = partial(read_key_ring, keys_folder(settings.home_path), os.environ)
        return cls(engine, KeyRingReader(load))

    async def open(self, agent_id: str, tool: ToolView) -> Headers:
        """Return the headers of a tool, for its URL alone; raises ToolError."""
        if tool.http is None or not tool.http.headers:
            return ()
        try:
            return await asyncio.to_thread(self._open, agent_id, tool.name, tool.http)
        except CredentialsUnavailableError as error:
            log.error("a tool's header cannot be opened", agent_id=agent_id, reason=str(error))  # noqa: TRY400  # frames of a traceback hold its value
        except StorageUnavailableError as error:
            log.warning("a tool's header cannot be read", agent_id=agent_id, reason=str(error))
        raise ToolError("the credentials of the tool are not available")

    def _open(self, agent_id: str, name: str, http: HttpToolView) -> Headers:
        with reading(self._engine) as connection:
            rows = headers_of(connection, agent_id, name)
        wanted = [(http.url, header.name) for header in http.headers]
        if [(row.url, row.name) for row in rows] != wanted:
            raise CredentialsUnavailableError("the tool was changed meanwhile")
        return tuple(
            (row.name, decrypt(self._keys.find, row.value, place_of_header(row))) for row in rows
        )
