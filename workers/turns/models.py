"""Which models may answer an agent's turns: ours, or its own, each with its deadlines."""

from functools import partial

import httpx

from schemas.agent import Agent, Deadlines
from workers.errors import ModelError
from workers.providers.chat import Budget, Endpoint, OpenAiChat
from workers.providers.chat_usage import SilentOnUsage
from workers.settings import Settings
from workers.storage.agents.llm_rows import StoredEntry
from workers.storage.turns.breakers import Breakers, endpoint_name
from workers.turns.answering import Answering, AnsweringRule
from workers.turns.asking import Entry
from workers.turns.entry_reader import EntryReader
from workers.turns.latencies import Latencies
from workers.turns.ports import Chat
from workers.turns.retrying import SHARED_UNWELL, TIMEOUTS, UNWELL


class Models:
    """The models of all agents, on two HTTP clients: one for users' endpoints, one for ours."""

    def __init__(
        self,
        settings: Settings,
        *,
        managed: Endpoint,
        managed_client: httpx.AsyncClient,
        users_client: httpx.AsyncClient,
        entries: EntryReader,
        breakers: Breakers,
    ) -> None:
        self._settings = settings
        self._endpoint = managed
        self._managed_client = managed_client
        self._users_client = users_client
        self._entries = entries
        self._breakers = breakers
        self._latencies = Latencies()
        self._silent = SilentOnUsage()
        self._rule = AnsweringRule(settings.llm_next_entry_s, hedging=settings.llm_hedging)

    def of(self, agent: Agent) -> Chat:
        """Return the models of an agent; nothing is looked up before they are asked."""
        return Answering(
            agent.llm[0].model if agent.llm else self._endpoint.model,
            partial(self._of, agent),
            within(budget_of(self._settings), agent.deadlines),
            self._rule,
            breakers=self._breakers,
            latencies=self._latencies,
        )

    async def _of(self, agent: Agent) -> list[Entry]:
        if not agent.llm:
            return [self._managed(agent)]
        last_resort = [self._managed(agent)] if self._settings.llm_fallback_to_managed else []
        try:
            rows = await self._entries.read(agent.id)
        except ModelError:
            if not last_resort:
                raise
            rows = []
        own = [self._own(agent, row) for row in rows[: self._settings.max_llm_entries]]
        return own + last_resort

    def _managed(self, agent: Agent) -> Entry:
        endpoint = self._endpoint

        async def open_it(budget: Budget) -> Chat:
            return OpenAiChat(self._managed_client, endpoint, budget, self._silent)

        name = endpoint_name(None, endpoint.base_url, endpoint.model)
        return Entry(None, endpoint.model, name, open_it, unwell(agent, SHARED_UNWELL))

    def _own(self, agent: Agent, row: StoredEntry) -> Entry:
        async def open_it(budget: Budget) -> Chat:
            endpoint = await self._entries.open(row)
            return OpenAiChat(self._users_client, endpoint, budget, self._silent)

        name = endpoint_name(row.account, row.base_url, row.model)
        return Entry(row.entry, row.model, name, open_it, unwell(agent, UNWELL))


def unwell(agent: Agent, failures: frozenset[str]) -> frozenset[str]:
    """Return those that count where an agent asks: deadlines of its own must not harm others."""
    return failures if agent.deadlines == Deadlines() else failures - TIMEOUTS


def budget_of(settings: Settings) -> Budget:
    """Return the operator's deadlines."""
    return Budget(
        connect_s=settings.llm_connect_s,
        first_token_s=settings.llm_first_token_s,
        between_tokens_s=settings.llm_between_tokens_s,
        total_s=settings.llm_total_s,
    )


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
