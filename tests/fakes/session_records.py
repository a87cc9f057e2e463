"""Keeps the history of sessions in lists."""

from schemas.session_history import MessageEntry, Reason, TurnEntry


class RecordsInALists:
    """What a gateway had kept, and whether a session may be removed."""

    keeps = True

    def __init__(self) -> None:
        self.sessions: list[tuple[str, str, str]] = []
        self.entries: dict[str, list[TurnEntry | MessageEntry]] = {}
        self.reasons: dict[str, Reason] = {}

    def started(self, session_id: str, account: str, agent_id: str) -> None:
        self.sessions.append((session_id, account, agent_id))
        self.entries[session_id] = []

    def added(self, session_id: str, entry: TurnEntry | MessageEntry) -> None:
        self.entries[session_id].append(entry)

    def ended(self, session_id: str, reason: Reason) -> None:
        self.reasons[session_id] = reason

    async def remove(self, account: str, session_id: str) -> bool | None:
        if not any(known[:2] == (session_id, account) for known in self.sessions):
            return None
        if session_id in self.reasons:
            self.sessions = [known for known in self.sessions if known[0] != session_id]
        return session_id in self.reasons
