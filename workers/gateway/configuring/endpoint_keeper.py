"""Endpoints for webhooks with their secrets: made, found, removed."""

import re
from datetime import datetime
from typing import Final

import structlog
from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from schemas.ids import new_id
from schemas.webhook import MessageType
from workers.errors import (
    BlockedAddressError,
    InvalidBaseUrlError,
    KeysUnavailableError,
    UnresolvedHostError,
)
from workers.gateway.rest_errors import ApiError, unavailable
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.secrets.secret_box import SecretBox
from workers.storage import endpoint_rows as rows
from workers.storage.database import reading, writing
from workers.storage.endpoint_rows import StoredEndpoint
from workers.storage.webhook_secret_rows import StoredSecret, add_secret
from workers.webhooks.signature import new_secret

MOST_ENDPOINTS: Final = 20
RESOLVE_S: Final = 2.5
_QUERY: Final = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@?%-]*", re.ASCII)

log = structlog.get_logger(__name__)


class EndpointKeeper:
    """Keeps endpoints; but for `check`, its methods block."""

    def __init__(self, engine: Engine, box: SecretBox, policy: BaseUrlPolicy) -> None:
        self._engine = engine
        self._box = box
        self._policy = policy

    async def check(self, url: str) -> None:
        """Raise ApiError, 422, unless webhooks may be sent there."""
        base, mark, query = url.partition("?")
        if mark and not _QUERY.fullmatch(query):
            message = "url: its query has characters that none needs"
            raise ApiError(422, "validation_error", message, param="url")
        try:
            await check_base_url(base, self._policy, deadline_s=RESOLVE_S)
        except (InvalidBaseUrlError, BlockedAddressError, UnresolvedHostError) as error:
            raise ApiError(422, "validation_error", f"url: {error}", param="url") from None

    def add(
        self, account: str, url: str, events: tuple[MessageType, ...], now: datetime
    ) -> tuple[StoredEndpoint, SecretStr]:
        """Make an endpoint and return it with its secret.

        Raises ApiError: 422 for too many, 503 where there is no key to keep the secret under.
        """
        endpoint = StoredEndpoint(
            id=new_id("endpoint"), account=account, url=url, events=events, created_at=now
        )
        secret = new_secret()
        closed = self._closed(endpoint, secret)
        with writing(self._engine) as connection:
            if rows.count_endpoints(connection, account) >= MOST_ENDPOINTS:
                message = f"an account has {MOST_ENDPOINTS} endpoints at most"
                raise ApiError(422, "validation_error", message)
            rows.add_endpoint(connection, endpoint)
            add_secret(connection, closed, older_until=now)
        return endpoint, secret

    def find(self, account: str, endpoint_id: str) -> StoredEndpoint | None:
        """Return an endpoint of an account, or None."""
        with reading(self._engine) as connection:
            return _mine(connection, account, endpoint_id)

    def of_account(self, account: str) -> list[StoredEndpoint]:
        """Return all endpoints of an account, oldest first."""
        with reading(self._engine) as connection:
            return rows.endpoints_of(connection, account)

    def remove(self, account: str, endpoint_id: str) -> bool:
        """Remove an endpoint and what waits for it; False where there is none."""
        with writing(self._engine) as connection:
            endpoint = _mine(connection, account, endpoint_id)
            if endpoint is not None:
                rows.remove_endpoint(connection, endpoint_id)
        return endpoint is not None

    def _closed(self, endpoint: StoredEndpoint, secret: SecretStr) -> StoredSecret:
        draft = StoredSecret(
            id=new_id("secret"),
            owner_id=endpoint.id,
            account=endpoint.account,
            secret=b"",
            created_at=endpoint.created_at,
        )
        try:
            return draft.model_copy(update={"secret": self._box.close(secret, draft.place)})
        except KeysUnavailableError as error:
            log.error("webhook secrets cannot be kept", reason=str(error))  # noqa: TRY400  # frames of a traceback hold the secret
            raise unavailable("secrets cannot be stored at the moment") from None


def _mine(connection: Connection, account: str, endpoint_id: str) -> StoredEndpoint | None:
    endpoint = rows.find_endpoint(connection, endpoint_id)
    return endpoint if endpoint is not None and endpoint.account == account else None
