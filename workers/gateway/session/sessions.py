"""The HTTP side of WebRTC sessions: an SDP offer in, the answer out (WHIP, RFC 9725)."""

from typing import Annotated, Final, NoReturn, cast

from fastapi import APIRouter, Depends, Request, Response

from schemas.error import ErrorBody, ErrorCode
from schemas.ids import is_id
from workers.gateway.auth import may_open_session, may_talk
from workers.gateway.needs import Needs
from workers.gateway.rest_errors import ApiError
from workers.gateway.session.registry import AtCapacityError, SessionRegistry
from workers.gateway.session.sdp_limits import MAX_BYTES, OfferError, read_offer
from workers.web.callers import Caller

SDP: Final = "application/sdp"
RETRY_AFTER_S: Final = "5"

router = APIRouter(tags=["sessions"])
Opener = Annotated[Caller, Depends(may_open_session)]
Talker = Annotated[Caller, Depends(may_talk)]


@router.post(
    "/v1/agents/{agent_id}/sessions",
    status_code=201,
    response_class=Response,
    responses={
        201: {
            "description": "The SDP answer.",
            "content": {SDP: {"schema": {"type": "string"}}},
            "headers": {"Location": {"description": "The session.", "schema": {"type": "string"}}},
        },
        415: {"model": ErrorBody, "description": f"The body is not {SDP}."},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}
    },
)
async def open_session(agent_id: str, request: Request, caller: Opener) -> Response:
    """Start a session with an agent: the body is an SDP offer, the answer an SDP answer."""
    sessions: SessionRegistry = request.app.state.sessions
    needs = cast("Needs", request.app.state.resources)
    _check_content_type(request)
    body = await _read_body(request)
    agent = await needs.agents.get(agent_id, caller.account) if is_id("agent", agent_id) else None
    if agent is None:
        raise ApiError(404, "agent_not_found", "there is no such agent", "agent_id")
    try:
        session, answer = await sessions.open(
            caller.account, agent, read_offer(body), caller.session_s
        )
    except OfferError as error:
        _refuse(error)
    except AtCapacityError as error:
        headers = {"Retry-After": RETRY_AFTER_S}
        raise ApiError(503, "unavailable", str(error), headers=headers) from None
    location = f"/v1/sessions/{session.session_id}"
    return Response(answer, 201, {"Location": location}, media_type=SDP)


@router.delete(
    "/v1/sessions/{session_id}",
    status_code=204,
    responses={409: {"model": ErrorBody, "description": "Another gateway process has it."}},
)
async def end_session(session_id: str, request: Request, caller: Talker) -> Response:
    """End a session; one that has ended is removed with its history, if the key may configure."""
    sessions: SessionRegistry = request.app.state.sessions
    session = sessions.find(session_id, caller.account)
    if session is not None:
        await sessions.end(session)
        return Response(status_code=204)
    removed = None
    if caller.may("configure") and is_id("session", session_id):
        needs = cast("Needs", request.app.state.resources)
        removed = await needs.session_history.remove(caller.account, session_id)
    if removed is None:
        raise ApiError(404, "session_not_found", "there is no such session", "session_id")
    if not removed:
        message = "the session is under way on another gateway; it can be removed once it has ended"
        raise ApiError(409, "invalid_request", message, "session_id")
    return Response(status_code=204)


def _check_content_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != SDP:
        raise ApiError(415, "invalid_request", f"the body is {SDP}", "content-type")


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise ApiError(413, "payload_too_large", f"an offer is at most {MAX_BYTES} bytes")
    return bytes(body)


_CODES: Final[dict[int, ErrorCode]] = {
    400: "invalid_request",
    413: "payload_too_large",
    422: "validation_error",
}


def _refuse(error: OfferError) -> NoReturn:
    raise ApiError(error.status, _CODES[error.status], str(error), error.param) from None
