"""Closing the keys of LLM entries before anything is written down."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schemas.agent import LlmEntry, LlmView, too_many
from schemas.batch import RowEntry
from schemas.webhook import RotateData
from workers.errors import BlockedAddressError, InvalidBaseUrlError, KeysUnavailableError
from workers.gateway.configuring.tool_sealer import ToolSealer
from workers.gateway.rest_errors import ApiError, unavailable
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.secrets.binding import Binding
from workers.secrets.places import renewed_key_place
from workers.secrets.sealing import PublicKeyReader, seal

log = structlog.get_logger(__name__)


class Sealer:
    """Seals with the public key of this system; it has nothing to open with."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        policy: BaseUrlPolicy,
        tools: ToolSealer,
        *,
        max_entries: int = 1,
    ) -> None:
        self.tools = tools
        self._max_entries = max_entries
        self._keys = PublicKeyReader(folder, environment)
        # The rows of a batch name few URLs, again and again.
        self._judged = functools.lru_cache(maxsize=1_024)(policy.judge_text)

    def seal(
        self, account: str, agent_id: str, entries: Sequence[LlmEntry]
    ) -> tuple[tuple[LlmView, ...], tuple[str, ...]]:
        """Return entries as they are stored and read, and their sealed keys, each for its place.

        Raises ApiError: 422 for more entries than the operator allows and for a `base_url` that
        no name look-up could save, 503 where there is no key to seal with: it may be made while the
        gateway runs.
        """
        if not entries:
            return (), ()
        views = self.judge(entries)
        key = self._public_key()
        sealed = tuple(
            seal(key, entry.api_key, Binding(account, agent_id, number, view.base_url))
            for number, (entry, view) in enumerate(zip(entries, views, strict=True))
        )
        return views, sealed

    def seal_row(
        self, account: str, agent_id: str, entries: Sequence[RowEntry]
    ) -> tuple[tuple[LlmView, ...], tuple[str | None, ...]]:
        """As `seal`, with None in the place of a key that is to be kept."""
        views = self.judge(entries)
        key = self._public_key()
        sealed = tuple(
            None
            if entry.api_key is None
            else seal(key, entry.api_key, Binding(account, agent_id, n, view.base_url))
            for n, (entry, view) in enumerate(zip(entries, views, strict=True))
        )
        return views, sealed

    def judge(self, entries: Sequence[LlmEntry | RowEntry]) -> tuple[LlmView, ...]:
        """Return entries as they are stored and read; raises ApiError 422 as `seal` does."""
        if len(entries) > self._max_entries:
            message = f"llm: {too_many(self._max_entries)}"
            raise ApiError(422, "validation_error", message, param="llm")
        return tuple(
            LlmView(
                base_url=self._judge(f"llm.{number}.base_url", entry.base_url), model=entry.model
            )
            for number, entry in enumerate(entries)
        )

    def seal_key(self, account: str, agent_id: str, data: RotateData) -> tuple[str | None, str]:
        """Return `base_url` as it is stored, and a new key for the entry so named, sealed.

        Without `base_url`, for the one entry that the agent has. Raises as `seal` does.
        """
        base_url = data.base_url
        endpoint = None if base_url is None else self._judge("data.base_url", base_url)
        place = renewed_key_place(account, agent_id, endpoint, data.model)
        return endpoint, seal(self._public_key(), data.api_key, place)

    def _public_key(self) -> X25519PublicKey:
        try:
            return self._keys.read()
        except KeysUnavailableError as error:
            log.error("LLM keys cannot be sealed", reason=str(error))  # noqa: TRY400  # frames of a traceback hold the key
            message = "keys cannot be stored at the moment, so nothing was changed"
            raise unavailable(message) from None

    def _judge(self, param: str, base_url: str) -> str:
        try:
            return str(self._judged(base_url))
        except (InvalidBaseUrlError, BlockedAddressError) as error:
            message = f"{param}: {error}"
            raise ApiError(422, "validation_error", message, param=param) from None
