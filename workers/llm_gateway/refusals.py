"""What a caller is told when no upstream answers: a status, a code, none of its words."""

import json
from http import HTTPStatus
from typing import Final

from workers.errors import ModelError
from workers.llm_gateway.errors import CompletionError
from workers.llm_gateway.upstream import UpstreamError

_CALLERS_FAULT: Final = frozenset({400, 413, 422})
"""Statuses by which an upstream says that the request itself is at fault."""
_AS_THEY_ARE: Final = frozenset({429, 503, 508})
"""Statuses of an upstream that mean the same to our caller."""


def refusal_of(error: ModelError, model: str) -> CompletionError:
    """Return the answer to a failure of this model's upstream."""
    status = _status(error)
    message = f"{model}: {error}"
    if status == HTTPStatus.LOOP_DETECTED:
        return loop_refusal(f"{model}: its requests go round in a circle of gateways")
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


def loop_refusal(message: str) -> CompletionError:
    """Return the answer to a request that gateways hand on to each other."""
    return CompletionError(
        HTTPStatus.LOOP_DETECTED, message, type_="upstream_error", code="loop_detected"
    )


def error_event(refusal: CompletionError) -> bytes:
    """Return the event that tells it in mid-stream; clients of OpenAI's API raise it."""
    return f"data: {json.dumps(refusal.body)}\n\n".encode()


def _status(error: ModelError) -> int:
    if error.status_code in _CALLERS_FAULT:
        return HTTPStatus.BAD_REQUEST
    if error.status_code in _AS_THEY_ARE:
        return error.status_code
    if error.failure == "busy":
        return HTTPStatus.SERVICE_UNAVAILABLE
    if error.failure.startswith("timeout_") or error.status_code == HTTPStatus.REQUEST_TIMEOUT:
        return HTTPStatus.GATEWAY_TIMEOUT
    return HTTPStatus.BAD_GATEWAY
