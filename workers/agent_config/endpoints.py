"""Whether models and tools may be called where they say: decided before anything is stored."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from schemas.agent import LlmView, too_many
from schemas.tool import ToolView
from workers.agent_config.refusal import ChangeRefusedError, NotNowError
from workers.errors import (
    BlockedAddressError,
    InvalidBaseUrlError,
    InvalidToolError,
    TemporarilyUnresolvedError,
    UnresolvedHostError,
)
from workers.providers.base_url import BaseUrl
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.providers.resolve import Resolve, system_resolve
from workers.providers.tools.parameters import check_parameters

NAMES_AWAY: Final = "names are not resolved at the moment, so nothing was changed"
RESOLVE_S: Final = 2.5
"""How long names may take to resolve; a REST call waits for 5 s in all."""


class EndpointCheck:
    """Judges URLs and the addresses of their names, on an event loop in a thread of its own."""

    def __init__(
        self,
        models: BaseUrlPolicy,
        tools: BaseUrlPolicy,
        loop: asyncio.AbstractEventLoop,
        resolve: Resolve,
        max_entries: int,
    ) -> None:
        self._max_entries = max_entries
        self._models = models
        self._tools = tools
        self._loop = loop
        self._resolve = resolve

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        models: BaseUrlPolicy,
        tools: BaseUrlPolicy,
        resolve: Resolve = system_resolve,
        *,
        max_entries: int = 1,
    ) -> Iterator["EndpointCheck"]:
        """Open it with the rules for models, up to `max_entries` of them, and for tools.

        Its thread ends with it.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="endpoint-check", daemon=True)
        thread.start()
        try:
            yield cls(models, tools, loop, resolve, max_entries)
        finally:
            asyncio.run_coroutine_threadsafe(_end_all(), loop).add_done_callback(
                lambda _ended: loop.call_soon_threadsafe(loop.stop)
            )
            thread.join(1)
            if not thread.is_alive():
                loop.close()

    def __call__(self, entries: Sequence[LlmView], tools: Sequence[ToolView] = ()) -> None:
        """Raise ChangeRefusedError, which names what is wrong, unless all of them may be called."""
        if len(entries) > self._max_entries:
            raise ChangeRefusedError(too_many(self._max_entries), "validation_error", "llm")
        for number, tool in enumerate(tools):
            try:
                check_parameters(tool.parameters)
            except InvalidToolError as error:
                param = f"tools.{number}.parameters"
                raise ChangeRefusedError(str(error), "validation_error", param) from None
        urls = {
            f"llm.{number}.base_url": (entry.base_url, self._models)
            for number, entry in enumerate(entries)
        }
        urls |= {
            f"tools.{number}.http.url": (tool.http.url, self._tools)
            for number, tool in enumerate(tools)
            if tool.http is not None
        }
        self._look_up(urls)

    def _look_up(self, urls: dict[str, tuple[str, BaseUrlPolicy]]) -> None:
        """Judge the addresses of all, side by side: a call waits for them."""
        checked = {
            param: asyncio.run_coroutine_threadsafe(
                check_base_url(url, policy, self._resolve, RESOLVE_S), self._loop
            )
            for param, (url, policy) in urls.items()
        }
        try:
            for param, found in checked.items():
                self._wait(param, found)
        finally:
            for found in checked.values():
                found.cancel()

    def _wait(self, param: str, found: "concurrent.futures.Future[BaseUrl]") -> None:
        try:
            found.result(2 * RESOLVE_S)
        except (TemporarilyUnresolvedError, TimeoutError):
            raise NotNowError(NAMES_AWAY, "names_unavailable", param) from None
        except (InvalidBaseUrlError, BlockedAddressError, UnresolvedHostError) as error:
            raise ChangeRefusedError(str(error), "validation_error", param) from None


async def _end_all() -> None:
    """End look-ups that nobody waits for any more."""
    under_way = asyncio.all_tasks() - {asyncio.current_task()}
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
