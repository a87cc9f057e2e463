"""Every error of the LLM gateway in the shape that clients of OpenAI's API know."""

from collections.abc import Mapping
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from workers.web.invalid_fields import in_words


class CompletionError(Exception):
    """A refusal that the caller may read: HTTP status, type, code, and the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_
        self.code = code
        self.param = param
        self.headers = headers

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The refusal as OpenAI's API spells it."""
        return _body(self.message, self.type, self.param, self.code)


def add_error_handlers(app: FastAPI) -> None:
    """Give every failure of this application OpenAI's shape."""
    app.add_exception_handler(CompletionError, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)


def crash_response(_request_id: str) -> Response:
    """Answer an exception that nobody handled, without a word about it."""
    return _response(500, "something went wrong here; it is logged", "server_error")


async def _on_refusal(_request: Request, error: Exception) -> Response:
    known = cast("CompletionError", error)
    return JSONResponse(known.body, known.status, headers=dict(known.headers or {}))


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    return _response(
        known.status_code, known.detail, "invalid_request_error", headers=known.headers
    )


async def _on_invalid(_request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    if first["type"] == "json_invalid":
        return _response(400, "the body is not valid JSON", "invalid_request_error")
    # The first two names alone: what lies deeper can have been named by the sender.
    param = ".".join(str(part) for part in first["loc"][1:3]) or None
    return _response(400, in_words(first), "invalid_request_error", param=param)


def _response(
    status: int,
    message: str,
    type_: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return JSONResponse(_body(message, type_, param, code), status, headers=dict(headers or {}))


def _body(
    message: str, type_: str, param: str | None, code: str | None
) -> dict[str, dict[str, str | None]]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}
