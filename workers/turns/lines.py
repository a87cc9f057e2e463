"""What the agent says when it cannot say what it should."""

from typing import Final

from schemas.agent import Lines

FILLER: Final = "One moment, please."
NOT_UNDERSTOOD: Final = "Sorry, I could not make out what you said."
BROKEN_OFF: Final = "Sorry, the rest of my answer was lost."
_UNREACHABLE: Final = "Sorry, I could not reach the language model."
_REFUSED: Final = "Sorry, the language model refused my request."
_BUSY: Final = "Sorry, the language model is busy. Please try again in a moment."
_NONSENSE: Final = "Sorry, the language model did not give a usable answer."
_SLOW: Final = "Sorry, the language model takes too long."
_NO_KEY: Final = "Sorry, the key of my language model is not available."

_APOLOGIES: Final = {
    "credentials_unavailable": _NO_KEY,
    "circuit_open": _UNREACHABLE,
    "timeout_connect": _UNREACHABLE,
    "disconnected": _UNREACHABLE,
    "tls": _UNREACHABLE,
    "blocked_address": _UNREACHABLE,
    "timeout_first_token": _SLOW,
    "timeout_total": _SLOW,
    "http_4xx": _REFUSED,
    "http_3xx": _REFUSED,
    "http_429": _BUSY,
    "http_5xx": _UNREACHABLE,
}


def filler(lines: Lines) -> str:
    """Return what is said while the model is late; empty: nothing."""
    return FILLER if lines.filler is None else lines.filler


def not_understood(lines: Lines, *, begun: bool) -> str:
    """Return what is said when the user's words could not be made out.

    `begun`: an attempt that made them out was heard to answer.
    """
    if begun:
        return lines.broken_off or BROKEN_OFF
    return lines.not_understood or NOT_UNDERSTOOD


def apology(lines: Lines, failure: str, *, begun: bool) -> str:
    """Return the line for a failure of the model.

    `begun`: part of the reply was said, by this attempt or an earlier one.
    """
    if begun:
        return lines.broken_off or BROKEN_OFF
    return lines.failed or _APOLOGIES.get(failure, _NONSENSE)
