"""Whether the endpoints of LLM entries may be called: decided before anything is stored."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from schemas.agent import LlmView
from workers.agent_config.refusal import ChangeRefusedError
from workers.errors import BlockedAddressError, InvalidBaseUrlError, UnresolvedHostError
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.providers.resolve import Resolve, system_resolve

RESOLVE_S: Final = 2.5
"""How long names may take to resolve; a REST call waits for 5 s in all."""


class EndpointCheck:
    """Judges URLs and the addresses of their names, on an event loop in a thread of its own."""

    def __init__(
        self, policy: BaseUrlPolicy, loop: asyncio.AbstractEventLoop, resolve: Resolve
    ) -> None:
        self._policy = policy
        self._loop = loop
        self._resolve = resolve

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, policy: BaseUrlPolicy, resolve: Resolve = system_resolve
    ) -> Iterator["EndpointCheck"]:
        """Open it; its thread ends with it."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="endpoint-check", daemon=True)
        thread.start()
        try:
            yield cls(policy, loop, resolve)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(1)
            if not thread.is_alive():
                loop.close()

    def __call__(self, entries: Sequence[LlmView]) -> None:
        """Raise ChangeRefusedError, which names the entry, unless all of them may be called."""
        for number, entry in enumerate(entries):
            checked = asyncio.run_coroutine_threadsafe(
                check_base_url(entry.base_url, self._policy, self._resolve, RESOLVE_S), self._loop
            )
            try:
                checked.result(2 * RESOLVE_S)
            except (InvalidBaseUrlError, BlockedAddressError, UnresolvedHostError) as error:
                raise ChangeRefusedError(
                    str(error), "validation_error", f"llm.{number}.base_url"
                ) from None
            except TimeoutError:
                checked.cancel()
                raise ChangeRefusedError(
                    "names are not resolved at the moment", "unavailable"
                ) from None
