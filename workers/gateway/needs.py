"""What sessions need of the process they live in."""

from typing import Protocol

from celery import Celery

from schemas.agent import Agent
from schemas.apology import Apology
from schemas.session_history import MessageEntry, Reason, TurnEntry
from workers.settings import Settings
from workers.storage.sessions.conversation import History
from workers.storage.turns.streams import TurnStreams


class Agents(Protocol):
    """Where agents are looked up."""

    async def get(self, agent_id: str, account: str | None = None) -> Agent | None:
        """Return an agent of this account, or None."""


class Apologies(Protocol):
    """Where it is kept what is said for agents whose workers are gone."""

    async def read(self, agent_id: str) -> Apology | None:
        """Return it; raises RedisError, and ValueError where it is malformed."""


class Recorder(Protocol):
    """Keeps the history of sessions; no call waits."""

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""

    def started(self, session_id: str, account: str, agent_id: str) -> None:
        """Take in that a session has begun."""

    def added(self, session_id: str, entry: TurnEntry | MessageEntry) -> None:
        """Take in an entry of its time line."""

    def ended(self, session_id: str, reason: Reason) -> None:
        """Take in that it has ended."""


class Removal(Protocol):
    """Where the history of an ended session is removed."""

    async def remove(self, account: str, session_id: str) -> bool | None:
        """Remove it; False if the session is active, None if there is none."""


class Needs(Protocol):
    """The part of the gateway's resources that sessions use."""

    @property
    def settings(self) -> Settings:
        """What is in force."""

    @property
    def streams(self) -> TurnStreams:
        """The streams of turns."""

    @property
    def history(self) -> History:
        """What was said."""

    @property
    def agents(self) -> Agents:
        """The agents."""

    @property
    def apologies(self) -> Apologies:
        """Their apologies."""

    @property
    def recorder(self) -> Recorder:
        """Keeps what happens in sessions."""

    @property
    def session_history(self) -> Removal:
        """What was kept."""

    @property
    def celery(self) -> Celery:
        """The application that publishes turns."""
