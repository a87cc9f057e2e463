"""The routes of sources: who may send webhooks to an account, and how they sign."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field, SecretStr, StrictInt

from schemas.closed import Closed
from schemas.error import ErrorBody
from schemas.ids import SourceId
from schemas.webhook import Scheme, SourceName
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.configuring.source_keeper import DEFAULT_OVERLAP_H, KeptSource, SourceKeeper
from workers.gateway.rest_errors import ApiError

MAX_OVERLAP_H: Final = 168
MAX_SECRET: Final = 512

Account = Annotated[str, Depends(require_account)]
Name = Annotated[SourceName, Path(description="what the account calls it")]

_NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ErrorBody, "description": "There is no such source."}
}

router = APIRouter(
    prefix="/v1",
    tags=["webhooks"],
    route_class=GuardedRoute,
    responses={
        401: {"model": ErrorBody, "description": "The key is missing or wrong."},
        422: {"model": ErrorBody, "description": "The request is not valid; `errors` says where."},
        503: {"model": ErrorBody, "description": "Nothing happened; try again."},
    },
)


class SourceRequest(Closed):
    """How a source signs. What is left out is kept; a secret that is left out is made here."""

    scheme: Scheme | None = None
    secret: Annotated[SecretStr, Field(min_length=1, max_length=MAX_SECRET)] | None = None
    """One that the sender gave; it is never shown."""
    overlap_hours: Annotated[StrictInt, Field(ge=0, le=MAX_OVERLAP_H)] = DEFAULT_OVERLAP_H
    """How long the secrets from before stay valid."""


class SecretView(Closed):
    """A secret that is valid now: since when, and until when where it was replaced."""

    created_at: datetime
    expires_at: datetime | None


class SourceView(Closed):
    """A source; its secrets are not in here."""

    id: SourceId
    name: str
    scheme: Scheme
    url: str
    """Where it sends its webhooks, below the address of this gateway."""
    created_at: datetime
    secrets: tuple[SecretView, ...]


class SourceWithSecret(SourceView):
    """A source as it is answered once, when its secret was made."""

    secret: str | None
    """The secret, this once; null where the caller brought it."""


class SourceList(Closed):
    """All sources of an account, by name."""

    sources: tuple[SourceView, ...]


async def _keeper(request: Request) -> SourceKeeper:
    keeper: SourceKeeper = request.app.state.resources.sources
    return keeper


Keeper = Annotated[SourceKeeper, Depends(_keeper)]


@router.put(
    "/sources/{name}",
    responses={201: {"model": SourceWithSecret, "description": "The source is new."}},
)
async def put_source(
    name: Name,
    account: Account,
    keeper: Keeper,
    response: Response,
    asked: SourceRequest | None = None,
) -> SourceWithSecret:
    """Make a source, or give it a new secret; the old one stays valid for `overlap_hours`."""
    asked = asked or SourceRequest()
    kept, secret = await asyncio.to_thread(
        keeper.put,
        account,
        name,
        scheme=asked.scheme,
        secret=asked.secret,
        overlap=timedelta(hours=asked.overlap_hours),
        now=datetime.now(UTC),
    )
    response.status_code = 201 if kept.is_new else 200
    response.headers["Cache-Control"] = "no-store"
    shown = None if secret is None else secret.get_secret_value()
    return SourceWithSecret(**_view(kept).model_dump(), secret=shown)


@router.get("/sources")
async def list_sources(account: Account, keeper: Keeper) -> SourceList:
    """List all sources, by name."""
    kept = await asyncio.to_thread(keeper.of_account, account, datetime.now(UTC))
    return SourceList(sources=tuple(map(_view, kept)))


@router.get("/sources/{name}", responses=_NOT_FOUND)
async def get_source(name: Name, account: Account, keeper: Keeper) -> SourceView:
    """Return a source."""
    kept = await asyncio.to_thread(keeper.find, account, name, datetime.now(UTC))
    if kept is None:
        raise _not_found()
    return _view(kept)


@router.delete("/sources/{name}", status_code=204, responses=_NOT_FOUND)
async def delete_source(name: Name, account: Account, keeper: Keeper) -> None:
    """Remove a source; what it sends from now on is refused."""
    if not await asyncio.to_thread(keeper.remove, account, name):
        raise _not_found()


def _not_found() -> ApiError:
    return ApiError(404, "source_not_found", "there is no such source", param="name")


def _view(kept: KeptSource) -> SourceView:
    source = kept.source
    return SourceView(
        id=source.id,
        name=source.name,
        scheme=source.scheme,
        url=f"/v1/webhooks/{source.id}",
        created_at=source.created_at,
        secrets=tuple(
            SecretView(created_at=each.created_at, expires_at=each.expires_at)
            for each in kept.secrets
        ),
    )
