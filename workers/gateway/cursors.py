"""Where a page of a list ended, as clients hand it back to ask for the next one."""

import base64
import re
from typing import Final

from workers.gateway.rest_errors import ApiError

Position = tuple[int, str]
"""When the last one shown was made, in microseconds since the epoch, and its id."""

_POSITION: Final = re.compile(r"([0-9]{1,17})\.([a-z]+_[0-9a-f]{32})")


def write_cursor(position: Position) -> str:
    """Return the cursor of a page that ends at this position."""
    return base64.urlsafe_b64encode(f"{position[0]}.{position[1]}".encode()).decode()


def read_cursor(cursor: str | None) -> Position | None:
    """Return where to go on, None for the beginning; raises ApiError for what is no cursor."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError:
        text = ""
    match = _POSITION.fullmatch(text)
    if match is None:
        message = "cursor: not one that this list gave"
        raise ApiError(422, "validation_error", message, param="cursor")
    return int(match[1]), match[2]
