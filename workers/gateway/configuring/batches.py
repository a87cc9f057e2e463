"""The routes of batches."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from schemas.batch import Batch, BatchAccepted
from schemas.error import ErrorBody
from schemas.ids import is_id
from workers.batch_files.formats import READERS
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.configuring.batch_inbox import BatchInbox
from workers.gateway.rest_errors import ApiError

ARRIVE_S: Final = 600.0
"""How long a batch may take to arrive, in seconds."""
PAGE: Final = 1_000
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ROW: Final = {"description": "an upsert, or a delete; what is neither is an error of its row"}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "array", "items": _ROW}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}
_NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ErrorBody, "description": "There is no such batch."}
}

Account = Annotated[str, Depends(require_account)]

router = APIRouter(
    prefix="/v1",
    route_class=GuardedRoute,
    tags=["batches"],
    responses={
        status: {"model": ErrorBody, "description": text}
        for status, text in {
            401: "The key is missing or wrong.",
            503: "Nothing happened; try again after `Retry-After`.",
        }.items()
    },
)


def _inbox(request: Request) -> BatchInbox:
    inbox: BatchInbox = request.app.state.resources.batches
    return inbox


Inbox = Annotated[BatchInbox, Depends(_inbox)]


@router.post(
    "/batches",
    status_code=202,
    openapi_extra=_BODY,
    responses={
        status: {"model": ErrorBody, "description": text}
        for status, text in {
            408: "The body did not arrive in time.",
            409: "The idempotency key stands for another body, or for one that is under way.",
            413: "The body is too large.",
            415: "The content type is none of those that batches may have.",
            422: "The body cannot be read, is empty or has too many rows.",
            429: "Too many batches of this account are being received; wait for `Retry-After`.",
        }.items()
    },
)
async def create_batch(
    request: Request,
    account: Account,
    inbox: Inbox,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> BatchAccepted:
    """Take up to 100,000 rows, all of them or none; they are applied from then on.

    Rows that cannot be applied are listed by `GET /v1/batches/{batch_id}/errors`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    make_reader = READERS.get(media_type)
    if make_reader is None:
        message = "the content type has to be one of " + ", ".join(READERS)
        raise ApiError(415, "invalid_request", message)
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        message = "Idempotency-Key: not 1 to 255 visible ASCII characters"
        raise ApiError(422, "validation_error", message, param="Idempotency-Key")
    try:
        return await inbox.take(
            account, media_type, make_reader(), idempotency_key, request.stream()
        )
    except ClientDisconnect:
        raise ApiError(400, "invalid_request", "the body broke off") from None


@router.get("/batches/{batch_id}", responses=_NOT_FOUND)
async def get_batch(batch_id: str, account: Account, inbox: Inbox) -> Batch:
    """Say how far a batch is and what became of its rows."""
    return await _find(inbox, account, batch_id)


@router.get(
    "/batches/{batch_id}/errors",
    response_class=StreamingResponse,
    responses={
        **_NOT_FOUND,
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}},
    },
)
async def list_errors(batch_id: str, account: Account, inbox: Inbox) -> StreamingResponse:
    """List the rows that failed so far, by line, one JSON object each."""
    batch = await _find(inbox, account, batch_id)
    return StreamingResponse(_errors(inbox, batch.id), media_type="application/x-ndjson")


async def _errors(inbox: BatchInbox, batch_id: str) -> AsyncIterator[str]:
    line = -1
    while found := await inbox.errors(batch_id, line, PAGE):
        yield "".join(f"{error.model_dump_json()}\n" for error in found)
        line = found[-1].line


async def _find(inbox: BatchInbox, account: str, batch_id: str) -> Batch:
    batch = await inbox.find(account, batch_id) if is_id("batch", batch_id) else None
    if batch is None:
        raise ApiError(404, "batch_not_found", "there is no such batch", param="batch_id")
    return batch
