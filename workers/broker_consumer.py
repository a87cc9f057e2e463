"""Celery's consumer, hardened: a message that is no task of ours is dropped, and not quoted.

Anyone who reaches the broker can put anything on a queue. Celery logs such a message whole,
and some shapes end its worker (seen with Celery and kombu 5.7: a task name that is a list, a
body that is a number, no id with an unknown name).
"""

import re
from typing import Any, Final

import structlog
from celery.utils.log import get_logger
from celery.utils.time import maybe_iso8601
from celery.worker import consumer

MAX_BODY: Final = 1_048_576
"""Longest body of a message, in bytes."""
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_MOMENTS: Final = ("eta", "expires")

log = structlog.get_logger(__name__)
_celery_log = get_logger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery ships no types
    """Hands on what is a task of ours; of anything else the log gets the reason alone."""

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        """Drop what is no task."""
        self._drop(message, "it is no task")

    def on_unknown_task(self, _body: Any, message: Any, _error: Exception) -> None:
        """Drop a task that nobody registered."""
        self._drop(message, "no task here has that name")

    def on_invalid_task(self, _body: Any, message: Any, error: Exception) -> None:
        """Drop a task with impossible arguments or in a coding that is not taken."""
        self._drop(message, type(error).__name__)

    def on_decode_error(self, message: Any, error: Exception) -> None:
        """Drop what cannot be decoded."""
        self._drop(message, type(error).__name__)

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """Return what Celery calls with each message."""
        handle = super().create_task_handler(*args, **options)

        def on_message(message: Any) -> None:
            reason = _fault(message)
            if reason is not None:
                return self._drop(message, reason)
            try:
                handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:  # noqa: BLE001  # whatever is in it, it ends no worker
                self._drop(message, type(error).__name__)

        return on_message

    def _drop(self, message: Any, reason: str) -> None:
        log.error("a message was dropped unread", reason=reason)
        message.reject_log_error(_celery_log, self.connection_errors)


def _fault(message: Any) -> str | None:
    """Say why Celery is not to see a message, None where it may."""
    headers = message.headers
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "it is no task"
    task_id = headers.get("id")
    if not isinstance(task_id, str) or not _SANE_ID.fullmatch(task_id):
        return "its id is none"
    if not isinstance(message.body, bytes | str) or len(message.body) > MAX_BODY:
        return f"its body is longer than {MAX_BODY} bytes, or none"
    try:
        for name in _MOMENTS:
            maybe_iso8601(headers.get(name))
    except (ValueError, TypeError, OverflowError):
        return "its eta or expiry is no time"
    return None
