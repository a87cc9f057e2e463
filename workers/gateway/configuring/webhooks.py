"""Webhooks that come in: verified before they are read, written down before they are answered."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request

from schemas.closed import Closed
from schemas.error import ErrorBody
from schemas.ids import EventId, is_id
from workers.gateway.configuring.webhook_inbox import WebhookInbox
from workers.gateway.rest_errors import ApiError
from workers.web.body_limit import declared_length
from workers.webhooks.signature import SignatureError, read_headers

MAX_BODY: Final = 262_144
"""Longest webhook, in bytes."""

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ErrorBody, "description": "It is not signed as this source signs."},
    404: {"model": ErrorBody, "description": "There is no such source."},
    409: {"model": ErrorBody, "description": "Another body came under this id."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    422: {"model": ErrorBody, "description": "The event is not valid; nothing was kept."},
    503: {"model": ErrorBody, "description": "Nothing was kept; send it again."},
}

router = APIRouter(prefix="/v1", tags=["webhooks"], responses=_ANSWERS)


class Accepted(Closed):
    """Which config event came of a webhook."""

    event_id: EventId


async def _inbox(request: Request) -> WebhookInbox:
    inbox: WebhookInbox = request.app.state.resources.inbox
    return inbox


Inbox = Annotated[WebhookInbox, Depends(_inbox)]


@router.post("/webhooks/{source}", status_code=202, openapi_extra={"security": []})
async def receive_webhook(source: str, request: Request, inbox: Inbox) -> Accepted:
    """Take in a signed webhook; the same one again changes nothing and has the same answer."""
    body: bytes | None = None
    refusal = "no signature fits"
    for is_fresh in (False, True):  # a secret, or the whole source, may be new
        known = await inbox.sender(source, is_fresh=is_fresh) if is_id("source", source) else None
        if known is None:
            raise ApiError(404, "source_not_found", "there is no such source", param="source")
        try:
            presented = read_headers(known.source.scheme, request.headers.getlist, time.time())
        except SignatureError as error:
            refusal = str(error)
            continue
        body = await _read_body(request) if body is None else body
        if presented.fits(body, known.keys_at(datetime.now(UTC))):
            return Accepted(event_id=await inbox.take(known.source, presented.webhook_id, body))
        refusal = "no signature fits"
    raise ApiError(401, "unauthorized", refusal)


async def _read_body(request: Request) -> bytes:
    too_long = ApiError(413, "payload_too_large", f"a webhook is at most {MAX_BODY} bytes")
    if declared_length(request.scope) > MAX_BODY:
        raise too_long
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise too_long
    return bytes(body)
