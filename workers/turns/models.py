"""Which model answers a turn: ours, or the agent's own with its key, opened for the call."""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import httpx
import structlog
from sqlalchemy import Engine

from schemas.agent import Agent, Deadlines
from schemas.chat import ChatEvent, ChatRequest
from workers.errors import CredentialsUnavailableError, ModelError, StorageUnavailableError
from workers.providers.chat import Budget, Endpoint, OpenAiChat
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt
from workers.secrets.key_files import keys_folder
from workers.secrets.key_ring import KeyRingReader, read_key_ring
from workers.settings import Settings
from workers.storage.database import reading
from workers.storage.llm_rows import StoredEntry, entries_of
from workers.turns.ports import Chat

KEPT: Final = 1_024
"""How many entries a worker remembers, in their envelopes, for when the database is away."""

log = structlog.get_logger(__name__)


class Models:
    """The models of all agents, on two HTTP clients: one for users' endpoints, one for ours."""

    def __init__(
        self, managed: OpenAiChat, client: httpx.AsyncClient, budget: Budget, entries: "EntryReader"
    ) -> None:
        self.managed = managed
        self._client = client
        self._budget = budget
        self._entries = entries

    def of(self, agent: Agent) -> Chat:
        """Return the model of an agent; nothing is looked up before it is asked."""
        budget = within(self._budget, agent.deadlines)
        if not agent.llm:
            return self.managed.under(budget)
        return OwnModel(agent.id, agent.llm[0].model, self._entries, self._client, budget)


def within(budget: Budget, deadlines: Deadlines) -> Budget:
    """Return an agent's own deadlines; the operator's count where they are shorter."""

    def shorter(operators: float, agents: float | None) -> float:
        return operators if agents is None else min(operators, agents)

    return Budget(
        connect_s=shorter(budget.connect_s, deadlines.connect),
        first_token_s=shorter(budget.first_token_s, deadlines.first_token),
        between_tokens_s=shorter(budget.between_tokens_s, deadlines.between_tokens),
        total_s=shorter(budget.total_s, deadlines.total),
    )


class OwnModel:
    """A model that the user brought."""

    def __init__(
        self,
        agent_id: str,
        model: str,
        entries: "EntryReader",
        client: httpx.AsyncClient,
        budget: Budget,
    ) -> None:
        self.model = model
        self._agent_id = agent_id
        self._entries = entries
        self._client = client
        self._budget = budget

    @contextlib.asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        """Stream a reply from the endpoint as it is stored at this moment. Raises ModelError."""
        endpoint = await self._entries.open(self._agent_id)
        chat = OpenAiChat(self._client, endpoint, self._budget)
        async with chat.stream(request) as events:
            yield events


class EntryReader:
    """Reads entries from the database and opens their keys."""

    def __init__(self, engine: Engine, keys: KeyRingReader) -> None:
        self._engine = engine
        self._keys = keys
        self._kept: OrderedDict[str, StoredEntry] = OrderedDict()

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> "EntryReader":
        """Return a reader with the keys of these settings; they are read when needed."""
        load = partial(read_key_ring, keys_folder(settings.home_path), os.environ)
        return cls(engine, KeyRingReader(load))

    async def open(self, agent_id: str) -> Endpoint:
        """Return where an agent's own model is, with its key.

        URL and key are of one row, and the key opens for that URL alone. While the database is
        away, the entry that was read last serves. Raises ModelError.
        """
        try:
            return await asyncio.to_thread(self._open, agent_id)
        except CredentialsUnavailableError as error:
            log.error("an LLM key cannot be opened", agent_id=agent_id, reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
        except StorageUnavailableError as error:
            log.warning("an LLM entry cannot be read", agent_id=agent_id, reason=str(error))
        raise ModelError(
            "credentials_unavailable",
            "the key of the agent's model cannot be opened; set it anew",
            retryable=False,
        )

    def _open(self, agent_id: str) -> Endpoint:
        row = self._row(agent_id)
        binding = Binding(row.account, row.agent_id, row.entry, row.base_url)
        return Endpoint(row.base_url, row.model, decrypt(self._keys.find, row.api_key, binding))

    def _row(self, agent_id: str) -> StoredEntry:
        try:
            with reading(self._engine) as connection:
                rows = entries_of(connection, agent_id)
        except StorageUnavailableError:
            if agent_id not in self._kept:
                raise
            log.warning("the database is away; an older LLM entry serves", agent_id=agent_id)
            return self._kept[agent_id]
        self._kept.pop(agent_id, None)
        if not rows:
            raise CredentialsUnavailableError("the agent has no stored key")
        self._kept[agent_id] = rows[0]
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return rows[0]
