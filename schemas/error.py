"""The body of every REST error."""

from typing import Literal

from schemas.closed import Closed

ErrorCode = Literal[
    "missing_authorization",
    "unauthorized",
    "validation_error",
    "invalid_request",
    "agent_not_found",
    "session_not_found",
    "source_not_found",
    "batch_not_found",
    "not_found",
    "method_not_allowed",
    "idempotency_key_reuse",
    "idempotency_in_progress",
    "payload_too_large",
    "rate_limited",
    "unavailable",
    "internal_error",
]


class ErrorItem(Closed):
    """One thing that is wrong with the request."""

    message: str
    param: str | None = None


class ErrorBody(Closed):
    """What went wrong and where; never what was sent."""

    code: ErrorCode
    message: str
    param: str | None = None
    request_id: str
    errors: tuple[ErrorItem, ...] = ()
