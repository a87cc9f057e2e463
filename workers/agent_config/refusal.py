"""Why an event is not applied, fit for the eyes of the one who sent it."""

from schemas.error import ErrorCode
from workers.errors import EdgewiseError


class ChangeRefusedError(EdgewiseError):
    """The event cannot be applied, now or later; the message is for the one who sent it."""

    code = "invalid_request"

    def __init__(
        self, message: str, error_code: ErrorCode = "invalid_request", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.error_code: ErrorCode = error_code
        self.param = param
