"""The routes of endpoints: where an account wants to hear what happened."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, StrictInt, StringConstraints

from schemas.agent import MAX_BASE_URL
from schemas.closed import Closed
from schemas.error import ErrorBody
from schemas.ids import EndpointId, is_id
from schemas.text import NO_NUL
from schemas.webhook import MESSAGE_TYPES, MessageType
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper, KeptEndpoint
from workers.gateway.configuring.source_keeper import DEFAULT_OVERLAP_H
from workers.gateway.configuring.webhook_sources import MAX_OVERLAP_H, SecretView
from workers.gateway.rest_errors import ApiError

Account = Annotated[str, Depends(require_account)]
Events = Annotated[tuple[MessageType, ...], Field(min_length=1, max_length=len(MESSAGE_TYPES))]

_NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ErrorBody, "description": "There is no such endpoint."}
}

router = APIRouter(
    prefix="/v1/webhook-endpoints",
    tags=["webhooks"],
    route_class=GuardedRoute,
    responses={
        401: {"model": ErrorBody, "description": "The key is missing or wrong."},
        422: {"model": ErrorBody, "description": "The request is not valid; `errors` says where."},
        503: {"model": ErrorBody, "description": "Nothing happened; try again."},
    },
)


Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_BASE_URL), NO_NUL]


class EndpointRequest(Closed):
    """Where to send webhooks, and of what."""

    url: Url
    events: Events = MESSAGE_TYPES


class EndpointChange(Closed):
    """What is to be another; what is left out is kept."""

    url: Url | None = None
    events: Events | None = None


class SecretRequest(Closed):
    """How a new secret takes over."""

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=MAX_OVERLAP_H)] = DEFAULT_OVERLAP_H
    """How long messages are signed with the secrets from before, too."""


class EndpointView(Closed):
    """An endpoint; its secret is not in here."""

    id: EndpointId
    url: str
    events: tuple[MessageType, ...]
    created_at: datetime
    delivered_at: datetime | None
    """When it last took a webhook in."""
    disabled_at: datetime | None
    """Since when nothing is sent there: it said 410, or took nothing in for three days."""
    secrets: tuple[SecretView, ...]
    """What its messages are signed with: a signature for each."""


class EndpointWithSecret(EndpointView):
    """An endpoint as it is answered once, when its secret was made."""

    secret: str


class EndpointList(Closed):
    """All endpoints of an account, oldest first."""

    webhook_endpoints: tuple[EndpointView, ...]


def _keeper(request: Request) -> EndpointKeeper:
    keeper: EndpointKeeper = request.app.state.resources.endpoints
    return keeper


Keeper = Annotated[EndpointKeeper, Depends(_keeper)]


@router.post("", status_code=201)
async def create_endpoint(
    asked: EndpointRequest, account: Account, keeper: Keeper, response: Response
) -> EndpointWithSecret:
    """Send webhooks to a URL from now on; the answer has the secret they are signed with."""
    await keeper.check(asked.url)
    kept, secret = await asyncio.to_thread(
        keeper.add, account, asked.url, _in_order(asked.events), datetime.now(UTC)
    )
    response.headers["Cache-Control"] = "no-store"
    return EndpointWithSecret(**_view(kept).model_dump(), secret=secret.get_secret_value())


@router.get("")
async def list_endpoints(account: Account, keeper: Keeper) -> EndpointList:
    """List all endpoints, oldest first."""
    found = await asyncio.to_thread(keeper.of_account, account, datetime.now(UTC))
    return EndpointList(webhook_endpoints=tuple(map(_view, found)))


@router.get("/{endpoint_id}", responses=_NOT_FOUND)
async def get_endpoint(endpoint_id: str, account: Account, keeper: Keeper) -> EndpointView:
    """Return an endpoint."""
    _check_id(endpoint_id)
    found = await asyncio.to_thread(keeper.find, account, endpoint_id, datetime.now(UTC))
    if found is None:
        raise _not_found()
    return _view(found)


@router.put("/{endpoint_id}", responses=_NOT_FOUND)
async def change_endpoint(
    endpoint_id: str, account: Account, keeper: Keeper, asked: EndpointChange
) -> EndpointView:
    """Change an endpoint's URL or events; its secret stays, and a disabled one is sent to again."""
    _check_id(endpoint_id)
    if asked.url is not None:
        await keeper.check(asked.url)
    changed = await asyncio.to_thread(
        keeper.change,
        account,
        endpoint_id,
        url=asked.url,
        events=None if asked.events is None else _in_order(asked.events),
        now=datetime.now(UTC),
    )
    if changed is None:
        raise _not_found()
    return _view(changed)


@router.post("/{endpoint_id}/secret", responses=_NOT_FOUND)
async def rotate_secret(
    endpoint_id: str,
    account: Account,
    keeper: Keeper,
    response: Response,
    asked: SecretRequest | None = None,
) -> EndpointWithSecret:
    """Give an endpoint a new secret; for `overlap_hours` the old one signs its messages, too."""
    _check_id(endpoint_id)
    overlap = timedelta(hours=(asked or SecretRequest()).overlap_hours)
    made = await asyncio.to_thread(
        keeper.rotate, account, endpoint_id, overlap=overlap, now=datetime.now(UTC)
    )
    if made is None:
        raise _not_found()
    kept, secret = made
    response.headers["Cache-Control"] = "no-store"
    return EndpointWithSecret(**_view(kept).model_dump(), secret=secret.get_secret_value())


@router.delete("/{endpoint_id}", status_code=204, responses=_NOT_FOUND)
async def delete_endpoint(endpoint_id: str, account: Account, keeper: Keeper) -> None:
    """Send nothing there any more; what waits to be sent is dropped."""
    _check_id(endpoint_id)
    if not await asyncio.to_thread(keeper.remove, account, endpoint_id):
        raise _not_found()


def _check_id(endpoint_id: str) -> None:
    if not is_id("endpoint", endpoint_id):
        raise _not_found()


def _not_found() -> ApiError:
    return ApiError(404, "not_found", "there is no such endpoint", param="endpoint_id")


def _in_order(events: tuple[MessageType, ...]) -> tuple[MessageType, ...]:
    return tuple(each for each in MESSAGE_TYPES if each in events)


def _view(kept: KeptEndpoint) -> EndpointView:
    return EndpointView(
        **kept.endpoint.model_dump(exclude={"account"}),
        secrets=tuple(
            SecretView(created_at=each.created_at, expires_at=each.expires_at)
            for each in kept.secrets
        ),
    )
