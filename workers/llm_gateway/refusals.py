"""What a caller is told when no upstream answers: a status, a code, none of its words."""

import json
from http import HTTPStatus
from typing import Final

from workers.errors import ModelError
from workers.llm_gateway.errors import CompletionError
from workers.llm_gateway.upstream import UpstreamError

_CALLERS_FAULT: Final = frozenset({400, 413, 422})
"""Statuses by which an upstream says that the request itself is at fault."""


def refusal_of(error: ModelError, model: str) -> CompletionError:
    """Return the answer to a failure of this model's upstream."""
    status = _status(error)
    message = f"{model}: {error}"
    if status == HTTPStatus.BAD_REQUEST:
        return CompletionError(status, message, code="upstream_bad_request")
    headers = {}
    if isinstance(error, UpstreamError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    return CompletionError(
        status,
        message,
        type_="rate_limit_error" if limited else "upstream_error",
        code="rate_limit_exceeded" if limited else f"upstream_{error.failure}",
        headers=headers,
    )


def error_event(refusal: CompletionError) -> bytes:
    """Return the event that tells it in mid-stream; clients of OpenAI's API raise it."""
    return f"data: {json.dumps(refusal.body)}\n\n".encode()


def _status(error: ModelError) -> int:
    if error.status_code in _CALLERS_FAULT:
        return HTTPStatus.BAD_REQUEST
    if error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return HTTPStatus.TOO_MANY_REQUESTS
    if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE or error.failure == "busy":
        return HTTPStatus.SERVICE_UNAVAILABLE
    if error.failure.startswith("timeout_") or error.status_code == HTTPStatus.REQUEST_TIMEOUT:
        return HTTPStatus.GATEWAY_TIMEOUT
    return HTTPStatus.BAD_GATEWAY
