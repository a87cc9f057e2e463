"""Endpoints for webhooks with their secrets: made, found, changed, removed."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from schemas.ids import new_id
from schemas.webhook import MessageType
from workers.errors import (
    BlockedAddressError,
    InvalidBaseUrlError,
    TemporarilyUnresolvedError,
    UnresolvedHostError,
)
from workers.gateway.configuring.secret_keeper import keep_secret
from workers.gateway.rest_errors import ApiError, unavailable
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.secrets.secret_box import SecretBox
from workers.storage.database import reading, writing
from workers.storage.webhooks import endpoints as rows
from workers.storage.webhooks.deliveries import try_anew
from workers.storage.webhooks.endpoints import StoredEndpoint
from workers.storage.webhooks.secrets import StoredSecret, valid_secrets
from workers.webhooks.signature import new_secret

MOST_ENDPOINTS: Final = 20
RESOLVE_S: Final = 2.5
_QUERY: Final = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@?%-]*", re.ASCII)


class KeptEndpoint(NamedTuple):
    """An endpoint with the secrets that messages to it are signed with, the newest first."""

    endpoint: StoredEndpoint
    secrets: Sequence[StoredSecret]


class EndpointKeeper:
    """Keeps endpoints; but for `check`, its methods block."""

    def __init__(self, engine: Engine, box: SecretBox, policy: BaseUrlPolicy) -> None:
        self._engine = engine
        self._box = box
        self._policy = policy

    async def check(self, url: str) -> None:
        """Raise ApiError unless webhooks may be sent there: 422, 503 where that cannot be known."""
        base, mark, query = url.partition("?")
        if mark and not _QUERY.fullmatch(query):
            message = "url: its query has characters that none needs"
            raise ApiError(422, "validation_error", message, param="url")
        try:
            await check_base_url(base, self._policy, deadline_s=RESOLVE_S)
        except TemporarilyUnresolvedError:
            raise unavailable("names are not resolved at the moment") from None
        except (InvalidBaseUrlError, BlockedAddressError, UnresolvedHostError) as error:
            raise ApiError(422, "validation_error", f"url: {error}", param="url") from None

    def add(
        self, account: str, url: str, events: tuple[MessageType, ...], now: datetime
    ) -> tuple[KeptEndpoint, SecretStr]:
        """Make an endpoint and return it with its secret.

        Raises ApiError: 422 for too many, 503 where there is no key to keep the secret under.
        """
        endpoint = StoredEndpoint(
            id=new_id("endpoint"), account=account, url=url, events=events, created_at=now
        )
        secret = new_secret()
        with writing(self._engine) as connection:
            if rows.count_endpoints(connection, account) >= MOST_ENDPOINTS:
                message = f"an account has {MOST_ENDPOINTS} endpoints at most"
                raise ApiError(422, "validation_error", message)
            rows.add_endpoint(connection, endpoint)
            kept = keep_secret(connection, self._box, endpoint, secret, older_until=now, now=now)
        return KeptEndpoint(endpoint, [kept]), secret

    def change(
        self,
        account: str,
        endpoint_id: str,
        *,
        url: str | None,
        events: tuple[MessageType, ...] | None,
        now: datetime,
    ) -> KeptEndpoint | None:
        """Change what is given and send there again if it was disabled; None where there is none.

        What waits for it goes to a new URL at once.
        """
        with writing(self._engine) as connection:
            held = _mine(connection, account, endpoint_id, to_change=True)
            if held is None:
                return None
            changes = {"url": url or held.url, "events": events or held.events}
            endpoint = held.model_copy(update={**changes, "disabled_at": None})
            rows.change_endpoint(connection, endpoint)
            if endpoint.url != held.url:
                try_anew(connection, endpoint_id, now)
            return _kept(connection, endpoint, now)

    def rotate(
        self, account: str, endpoint_id: str, *, overlap: timedelta, now: datetime
    ) -> tuple[KeptEndpoint, SecretStr] | None:
        """Give an endpoint a new secret and return both; None where there is no such endpoint.

        Until `overlap` is over messages are signed with the older ones, too. Raises ApiError,
        503, where there is no key to keep the secret under.
        """
        secret = new_secret()
        with writing(self._engine) as connection:
            endpoint = _mine(connection, account, endpoint_id, to_change=True)
            if endpoint is None:
                return None
            older_until = now + overlap
            keep_secret(connection, self._box, endpoint, secret, older_until=older_until, now=now)
            return _kept(connection, endpoint, now), secret

    def find(self, account: str, endpoint_id: str, now: datetime) -> KeptEndpoint | None:
        """Return an endpoint of an account, or None."""
        with reading(self._engine) as connection:
            endpoint = _mine(connection, account, endpoint_id)
            return None if endpoint is None else _kept(connection, endpoint, now)

    def of_account(self, account: str, now: datetime) -> list[KeptEndpoint]:
        """Return all endpoints of an account, oldest first."""
        with reading(self._engine) as connection:
            found = rows.endpoints_of(connection, account)
            return [_kept(connection, endpoint, now) for endpoint in found]

    def remove(self, account: str, endpoint_id: str) -> bool:
        """Remove an endpoint and what waits for it; False where there is none."""
        with writing(self._engine) as connection:
            endpoint = _mine(connection, account, endpoint_id)
            if endpoint is not None:
                rows.remove_endpoint(connection, endpoint_id)
        return endpoint is not None


def _mine(
    connection: Connection, account: str, endpoint_id: str, *, to_change: bool = False
) -> StoredEndpoint | None:
    endpoint = rows.find_endpoint(connection, endpoint_id, to_change=to_change)
    return endpoint if endpoint is not None and endpoint.account == account else None


def _kept(connection: Connection, endpoint: StoredEndpoint, now: datetime) -> KeptEndpoint:
    return KeptEndpoint(endpoint, valid_secrets(connection, endpoint.id, now))
