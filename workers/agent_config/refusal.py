"""Why an event is not applied, fit for the eyes of the one who sent it."""

from schemas.error import ErrorCode
from workers.errors import EdgewiseError
from workers.storage.events.rows import Reason


class ChangeRefusedError(EdgewiseError):
    """The event cannot be applied, now or later; the message is for the one who sent it."""

    code = "invalid_request"

    def __init__(
        self, message: str, error_code: ErrorCode = "invalid_request", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.error_code: ErrorCode = error_code
        self.param = param

    def with_param(self, param: str | None) -> "ChangeRefusedError":
        """Return the same refusal, of another field."""
        return ChangeRefusedError(str(self), self.error_code, param)


class NotNowError(ChangeRefusedError):
    """The event cannot be decided at the moment, through no fault of its own.

    Who waits for it is told to come back; where nobody waits, it rests and is tried again.
    """

    def __init__(
        self, message: str, reason: Reason, param: str | None = None, *, detail: str = ""
    ) -> None:
        super().__init__(message, "unavailable", param)
        self.reason: Reason = reason
        self.detail = detail
        """For the log: what the operator has to mend."""

    def with_param(self, param: str | None) -> "NotNowError":
        """Return the same, of another field."""
        return NotNowError(str(self), self.reason, param, detail=self.detail)
