"""Probes LLM entries when their time comes, beside the work on config events.

A thread with an event loop of its own in every config worker: the process that may open keys.
An entry is due as soon as it is stored, then about once in `EDGEWISE_LLM_PROBE_EVERY_S`. Who
probes it holds its lease, so one worker does; a lease runs out by itself when a worker dies.
"""

import asyncio
import contextlib
import random
import secrets
import ssl
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Engine

from schemas.llm_health import ProbeResult
from workers.agent_config.probe import failed, probe
from workers.errors import CredentialsUnavailableError, ModelError, StorageUnavailableError
from workers.providers.base_url_allow import users_allow
from workers.providers.chat import Budget, Endpoint, open_client
from workers.providers.trust import trusted_authorities
from workers.secrets.binding import Binding
from workers.secrets.envelope import FindKey, decrypt
from workers.settings import Settings
from workers.storage.agents.llm_rows import StoredEntry
from workers.storage.agents.probe_rows import (
    Busy,
    DueProbe,
    due_probes,
    record_probe,
    take_probe,
)
from workers.storage.database import reading, writing

AT_ONCE: Final = 8
"""Probes at once in one worker."""
PER_ENDPOINT: Final = 2
"""Of these, to one base URL: a batch of thousands must not become a storm on one provider."""
PER_ACCOUNT: Final = 6
"""Of these, for one account: whatever it has probed, there is room for others."""
LOOKED_AT: Final = 32
LEASE_S: Final = 60.0
"""After this long somebody who probes is taken for dead: longer than a probe may take."""
LOOK_S: Final = 1.0
"""How often the database is asked what is due."""
STOP_S: Final = 1.0

Taken = tuple[StoredEntry, str]
"""An entry and the lease under which it is probed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ProbeWork:
    """What a prober works with."""

    engine: Engine
    find_key: FindKey
    settings: Settings
    verify: ssl.SSLContext | None = None


@contextlib.contextmanager
def probing(work: ProbeWork) -> Iterator[None]:
    """Probe what is due until the end; what is under way then is left to other workers."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=_run, args=(loop, work, stop), name="probe", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_S)


def _run(loop: asyncio.AbstractEventLoop, work: ProbeWork, stop: asyncio.Event) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_until(Prober(work), stop))


async def _until(prober: "Prober", stop: asyncio.Event) -> None:
    working = asyncio.create_task(prober.work(), name="probe")
    stopping = asyncio.create_task(stop.wait(), name="stop probing")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    await asyncio.wait({working})
    if not working.cancelled() and (error := working.exception()):
        log.error("no LLM entry is probed any more", error=type(error).__name__)


class Prober:
    """Takes entries whose time has come and probes them, several at once."""

    def __init__(self, work: ProbeWork) -> None:
        settings = work.settings
        self._engine = work.engine
        self._find_key = work.find_key
        self._every_s = settings.llm_probe_every_s
        self._budget = Budget(
            connect_s=settings.llm_connect_s,
            first_token_s=settings.llm_first_token_s,
            between_tokens_s=settings.llm_between_tokens_s,
            total_s=settings.llm_total_s,
        )
        verify = work.verify or trusted_authorities(settings)
        self._open_client = partial(
            open_client, self._budget, 1, users_allow(settings), verify=verify
        )
        self._under_way: dict[asyncio.Task[None], StoredEntry] = {}

    async def work(self) -> None:
        """Probe for ever."""
        try:
            while True:
                if await self._start():
                    log.debug("llm_probes", under_way=len(self._under_way))
                await asyncio.sleep(LOOK_S * random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, guards nothing
        finally:
            for task in self._under_way:
                task.cancel()

    async def work_off(self) -> int:
        """Probe all that is due now, and return how many entries that were."""
        started = await self._start()
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        return started

    async def _start(self) -> int:
        """Start probes of what is due, as many as there may be; return how many."""
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return 0
        try:
            taken = await asyncio.to_thread(self._take, room, list(self._under_way.values()))
        except StorageUnavailableError as error:
            log.warning("LLM entries are not probed", error=str(error))
            return 0
        for entry, lease in taken:
            task = asyncio.create_task(self._probe(entry, lease), name=f"probe {entry.agent_id}")
            self._under_way[task] = entry
            task.add_done_callback(self._under_way.pop)
        return len(taken)

    def _take(self, room: int, under_way: Collection[StoredEntry]) -> list[Taken]:
        """Take what is due, looking on until there is no room or nothing that may be probed."""
        load = _Load(under_way)
        taken: list[Taken] = []
        for _ in range(room):
            now = datetime.now(UTC)
            with reading(self._engine) as connection:
                scheduled = self._every_s > 0
                due = due_probes(connection, now, LOOKED_AT, load.busy(), scheduled=scheduled)
            if due:
                taken += self._take_of(due, room - len(taken), load)
            if len(due) < LOOKED_AT or len(taken) == room:
                break
        return taken

    def _take_of(self, due: list[DueProbe], room: int, load: "_Load") -> list[Taken]:
        taken: list[Taken] = []
        until = datetime.now(UTC) + timedelta(seconds=LEASE_S)
        with writing(self._engine) as connection:
            for each in due:
                if len(taken) < room and load.has_room_for(each):
                    lease = secrets.token_hex(16)
                    entry = take_probe(connection, each, lease, until)
                    if entry is not None:
                        load.add(entry)
                        taken.append((entry, lease))
        return taken

    async def _probe(self, entry: StoredEntry, lease: str) -> None:
        with structlog.contextvars.bound_contextvars(agent_id=entry.agent_id, entry=entry.entry):
            try:
                result = await self._result(entry)
                is_kept = await asyncio.to_thread(self._record, entry, lease, result)
            except StorageUnavailableError as error:
                log.warning("the result of a probe is lost", error=str(error))
            except Exception as error:  # noqa: BLE001  # one entry must not end the probes of all; a traceback could hold its key
                log.error("a probe broke off", error=type(error).__name__)  # noqa: TRY400  # the same
            else:
                times = result.model_dump(include={"first_token_ms", "longest_gap_ms", "tools"})
                log.info(
                    "llm_probed",
                    status=result.status,
                    reason=result.reason,
                    is_kept=is_kept,
                    **times,
                )

    async def _result(self, entry: StoredEntry) -> ProbeResult:
        binding = Binding(entry.account, entry.agent_id, entry.entry, entry.base_url)
        try:
            key = await asyncio.to_thread(decrypt, self._find_key, entry.api_key, binding)
        except CredentialsUnavailableError:
            message = "the key cannot be opened; set it anew"
            error = ModelError("credentials_unavailable", message, retryable=False)
            return failed(error, datetime.now(UTC))
        endpoint = Endpoint(entry.base_url, entry.model, key)
        return await probe(endpoint, self._budget, self._open_client)

    def _record(self, entry: StoredEntry, lease: str, result: ProbeResult) -> bool:
        later = timedelta(seconds=self._every_s * random.uniform(0.8, 1.2))  # noqa: S311  # spreads load, guards nothing
        place = (entry.agent_id, entry.entry)
        with writing(self._engine) as connection:
            return record_probe(connection, place, lease, result, datetime.now(UTC) + later)


class _Load:
    """How many probes endpoints and accounts have under way."""

    def __init__(self, under_way: Collection[StoredEntry]) -> None:
        self._base_urls = Counter(entry.base_url for entry in under_way)
        self._accounts = Counter(entry.account for entry in under_way)

    def add(self, entry: StoredEntry) -> None:
        self._base_urls[entry.base_url] += 1
        self._accounts[entry.account] += 1

    def has_room_for(self, due: DueProbe) -> bool:
        return (
            self._base_urls[due.base_url] < PER_ENDPOINT
            and self._accounts[due.account] < PER_ACCOUNT
        )

    def busy(self) -> Busy:
        return Busy(
            [url for url, count in self._base_urls.items() if count >= PER_ENDPOINT],
            [account for account, count in self._accounts.items() if count >= PER_ACCOUNT],
        )
