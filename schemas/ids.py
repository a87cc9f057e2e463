"""Identifiers: a prefix that says what it names, then 32 random hexadecimal digits."""

import hashlib
import re
import secrets
from typing import Annotated, Literal

from pydantic import StringConstraints

Kind = Literal[
    "agent",
    "session",
    "turn",
    "reply",
    "item",
    "event",
    "req",
    "key",
    "call",
    "source",
    "secret",
    "endpoint",
    "msg",
    "batch",
]

AgentId = Annotated[str, StringConstraints(pattern=r"^agent_[0-9a-f]{32}$")]
SessionId = Annotated[str, StringConstraints(pattern=r"^session_[0-9a-f]{32}$")]
TurnId = Annotated[str, StringConstraints(pattern=r"^turn_[0-9a-f]{32}$")]
SourceId = Annotated[str, StringConstraints(pattern=r"^source_[0-9a-f]{32}$")]
EndpointId = Annotated[str, StringConstraints(pattern=r"^endpoint_[0-9a-f]{32}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^event_[0-9a-f]{32}$")]


def new_id(kind: Kind) -> str:
    """Return a fresh identifier such as `turn_` followed by 32 hexadecimal digits."""
    return f"{kind}_{secrets.token_hex(16)}"


def is_id(kind: Kind, text: str) -> bool:
    """Tell whether `text` has the form of an identifier of this kind."""
    return re.fullmatch(rf"{kind}_[0-9a-f]{{32}}", text) is not None


def agent_id_of(account: str, external_id: str) -> str:
    """Return the id of the agent that an account knows by a name of its own.

    The same names give the same id on every host and at any time, so nothing is looked up: an
    agent can be created, changed and removed by whoever knows its name alone.
    """
    named = f"{len(account)}:{account}{external_id}".encode()
    return f"agent_{hashlib.sha256(named).hexdigest()[:32]}"
