"""What sessions need of the process they live in."""

from typing import Protocol

from celery import Celery

from schemas.agent import Agent
from workers.settings import Settings
from workers.storage.history import History
from workers.storage.turn_streams import TurnStreams


class Agents(Protocol):
    """Where agents are looked up."""

    async def get(self, agent_id: str, account: str | None = None) -> Agent | None:
        """Return an agent of this account, or None."""


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
    def celery(self) -> Celery:
        """The application that publishes turns."""
