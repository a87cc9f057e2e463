"""Entries of a time line as the database holds them.

Each request to a model repeats the whole conversation, so its messages are stored once per
session, under their digests, and an entry names them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from schemas.session_history import MessageEntry, TimelineEntry, TurnEntry

MAX_MESSAGES: Final = 4_000
"""Messages that an entry names, over all requests; those of the oldest beyond are left out."""
Entry = TurnEntry | MessageEntry
Bodies = dict[str, str]
"""Messages as JSON by their digests."""
_ENTRY: TypeAdapter[Entry] = TypeAdapter(TimelineEntry)


def size_of(entry: Entry) -> int:
    """Return about how many characters an entry holds, without writing it."""
    if isinstance(entry, MessageEntry):
        return len(entry.content)
    messages = (message for request in entry.sent for message in request.messages)
    return len(entry.user) + len(entry.reply) + sum(_size(message) for message in messages)


def to_document(entry: Entry) -> tuple[str, Bodies]:
    """Return an entry as JSON, and the messages that it names."""
    document: dict[str, Any] = entry.model_dump(mode="json")
    bodies: Bodies = {}
    room = MAX_MESSAGES
    for request in reversed(document.get("sent", [])):
        room -= len(request["messages"])
        if room < 0:
            request.update(messages=[], omitted=True)
        request["messages"] = [_keep(message, bodies) for message in request["messages"]]
    return json.dumps(document, ensure_ascii=False), bodies


def digests_of(documents: Iterable[str]) -> set[str]:
    """Return the digests of all messages that these entries name."""
    sent = (request for document in documents for request in json.loads(document).get("sent", []))
    return {digest for request in sent for digest in request["messages"]}


def read_document(document: str, bodies: Mapping[str, str]) -> Entry:
    """Read an entry; a message that is not among the bodies is empty."""
    held: dict[str, Any] = json.loads(document)
    for request in held.get("sent", []):
        request["messages"] = [
            json.loads(bodies.get(digest, "{}")) for digest in request["messages"]
        ]
    return _ENTRY.validate_python(held)


def _keep(message: dict[str, Any], bodies: Bodies) -> str:
    body = json.dumps(message, ensure_ascii=False)
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    bodies[digest] = body
    return digest


def _size(message: Mapping[str, Any]) -> int:
    return len(str(message.get("content") or ""))
