"""The routes of endpoints: where an account wants to hear what happened."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from schemas.agent import MAX_BASE_URL, Text
from schemas.closed import Closed
from schemas.error import ErrorBody
from schemas.ids import EndpointId, is_id
from schemas.webhook import MESSAGE_TYPES, MessageType
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper
from workers.gateway.rest_errors import ApiError
from workers.storage.endpoint_rows import StoredEndpoint

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


class EndpointRequest(Closed):
    """Where to send webhooks, and of what."""

    url: Annotated[Text, Field(min_length=1, max_length=MAX_BASE_URL)]
    events: Events = MESSAGE_TYPES


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


class EndpointWithSecret(EndpointView):
    """An endpoint as it is answered once, when it is made."""

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
    events = tuple(each for each in MESSAGE_TYPES if each in asked.events)
    endpoint, secret = await asyncio.to_thread(
        keeper.add, account, asked.url, events, datetime.now(UTC)
    )
    response.headers["Cache-Control"] = "no-store"
    return EndpointWithSecret(**_view(endpoint).model_dump(), secret=secret.get_secret_value())


@router.get("")
async def list_endpoints(account: Account, keeper: Keeper) -> EndpointList:
    """List all endpoints, oldest first."""
    found = await asyncio.to_thread(keeper.of_account, account)
    return EndpointList(webhook_endpoints=tuple(map(_view, found)))


@router.get("/{endpoint_id}", responses=_NOT_FOUND)
async def get_endpoint(endpoint_id: str, account: Account, keeper: Keeper) -> EndpointView:
    """Return an endpoint."""
    is_one = is_id("endpoint", endpoint_id)
    found = await asyncio.to_thread(keeper.find, account, endpoint_id) if is_one else None
    if found is None:
        raise _not_found()
    return _view(found)


@router.delete("/{endpoint_id}", status_code=204, responses=_NOT_FOUND)
async def delete_endpoint(endpoint_id: str, account: Account, keeper: Keeper) -> None:
    """Send nothing there any more; what waits to be sent is dropped."""
    is_one = is_id("endpoint", endpoint_id)
    if not (is_one and await asyncio.to_thread(keeper.remove, account, endpoint_id)):
        raise _not_found()


def _not_found() -> ApiError:
    return ApiError(404, "not_found", "there is no such endpoint", param="endpoint_id")


def _view(endpoint: StoredEndpoint) -> EndpointView:
    return EndpointView(**endpoint.model_dump(exclude={"account"}))
