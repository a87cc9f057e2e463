"""Entries of a time line as the database holds them: JSON of a bounded size."""

from typing import Final

from pydantic import TypeAdapter

from schemas.session_history import MessageEntry, SentRequest, TimelineEntry, TurnEntry

MAX_CHARACTERS: Final = 512_000
"""Longest entry; beyond it the messages of the oldest requests are left out."""
_ENTRY: TypeAdapter[TurnEntry | MessageEntry] = TypeAdapter(TimelineEntry)


def size_of(entry: TurnEntry | MessageEntry) -> int:
    """Return about how long an entry will be, without writing it."""
    if isinstance(entry, MessageEntry):
        return len(entry.content)
    return len(entry.user) + len(entry.reply) + sum(_size(request) for request in entry.sent)


def to_document(entry: TurnEntry | MessageEntry) -> str:
    """Write an entry as JSON of at most 512,000 characters or so."""
    document = entry.model_dump_json()
    while len(document) > MAX_CHARACTERS and isinstance(entry, TurnEntry):
        whole = [n for n, request in enumerate(entry.sent) if not request.omitted]
        if not whole:
            break
        sent = list(entry.sent)
        sent[whole[0]] = sent[whole[0]].model_copy(update={"messages": (), "omitted": True})
        entry = entry.model_copy(update={"sent": tuple(sent)})
        document = entry.model_dump_json()
    return document


def read_document(document: str) -> TurnEntry | MessageEntry:
    """Read an entry; raises ValueError where another release wrote one that this cannot read."""
    return _ENTRY.validate_json(document)


def _size(request: SentRequest) -> int:
    return sum(len(str(message.get("content") or "")) for message in request.messages)
