"""Every REST error in one shape, and never with what was sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from schemas.error import ErrorBody, ErrorCode, ErrorItem
from workers.errors import StorageUnavailableError
from workers.web.invalid_fields import MAX_ITEMS, in_words, invalid_item

RETRY_AFTER_S: Final = 2
_CODES: Final[dict[int, ErrorCode]] = {
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    422: "validation_error",
    429: "rate_limited",
    503: "unavailable",
}

log = structlog.get_logger(__name__)


class ApiError(Exception):
    """A refusal that the caller may read: HTTP status, code, message, and the field at fault."""

    def __init__(
        self,
        status: int,
        code: ErrorCode,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        errors: tuple[ErrorItem, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code: ErrorCode = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        self.errors = errors or (_without_place(message, param),)


def _without_place(message: str, param: str | None) -> ErrorItem:
    return ErrorItem(message=message.removeprefix(f"{param}: "), param=param)


def unavailable(message: str) -> ApiError:
    """Return a 503 that says when to try again."""
    return ApiError(503, "unavailable", message, headers={"Retry-After": str(RETRY_AFTER_S)})


def add_error_handlers(app: FastAPI) -> None:
    """Give every failure of this application the shape of `ErrorBody`."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(StorageUnavailableError, _on_unavailable)
    app.add_exception_handler(RedisError, _on_unavailable)


def crash_response(request_id: str) -> Response:
    """Answer an exception that nobody handled, without a word about it."""
    return _response(500, "internal_error", "something went wrong here; it is logged", request_id)


def invalid(items: tuple[ErrorItem, ...]) -> ApiError:
    """Return a 422 for what is wrong with a request; its message is about the first of these."""
    first = items[0] if items else ErrorItem(message="the request is not valid")
    message = f"{first.param}: {first.message}" if first.param else first.message
    return ApiError(422, "validation_error", message, first.param, errors=items)


async def _on_api_error(request: Request, error: Exception) -> Response:
    known = cast("ApiError", error)
    return _response(
        known.status,
        known.code,
        known.message,
        _request_id(request),
        param=known.param,
        errors=known.errors,
        headers=known.headers,
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    is_method = known.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    return _response(
        known.status_code,
        _CODES.get(known.status_code, "invalid_request"),
        known.detail,
        _request_id(request),
        headers={"Allow": _allowed(request)} if is_method else known.headers,
    )


def _allowed(request: Request) -> str:
    """List the methods of all routes of this path; the framework knows those of the first."""
    methods = {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return ", ".join(sorted(methods))


async def _on_invalid(request: Request, error: Exception) -> Response:
    errors = cast("RequestValidationError", error).errors()
    field = getattr(request.scope["route"], "body_field", None)
    body = field.field_info.annotation if field else None
    items = tuple(_item(each, body) for each in errors[:MAX_ITEMS])
    return await _on_api_error(request, invalid(items))


def _item(error: Any, body: Any) -> ErrorItem:
    part, *place = error["loc"]
    if part == "body":
        return invalid_item({**error, "loc": place}, body)
    # What is not in the body is looked up by the names that the route has for it.
    return ErrorItem(message=in_words(error), param=".".join(map(str, place)) or None)


async def _on_unavailable(request: Request, error: Exception) -> Response:
    log.warning("storage did not answer", error=type(error).__name__)
    return _response(
        503,
        "unavailable",
        "the storage does not answer at the moment",
        _request_id(request),
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


def _response(
    status: int,
    code: ErrorCode,
    message: str,
    request_id: str,
    *,
    param: str | None = None,
    errors: tuple[ErrorItem, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = ErrorBody(
        code=code,
        message=message,
        param=param,
        request_id=request_id,
        errors=errors or (ErrorItem(message=message, param=param),),
    )
    return JSONResponse(body.model_dump(), status, headers=dict(headers or {}))
