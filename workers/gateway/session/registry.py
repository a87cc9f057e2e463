"""The sessions of this gateway process: how many there may be, and the one that tends them all."""

import asyncio
from typing import Final

import structlog

from schemas.agent import Agent
from workers.errors import EdgewiseError
from workers.gateway.needs import Needs
from workers.gateway.session.sdp_offer import Offer
from workers.gateway.session.session import Session
from workers.gateway.session.turn_queue import TurnQueue

TEND_S: Final = 0.5
SHUTDOWN_S: Final = 4.0
_log = structlog.get_logger(__name__)


class AtCapacityError(EdgewiseError):
    """This process has all the sessions it can serve."""

    code = "unavailable"
    retryable = True


class SessionRegistry:
    """Opens, finds and ends sessions. One task looks after all of them."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._queue = TurnQueue(needs.celery)
        self._sessions: dict[str, tuple[Session, asyncio.Task[None]]] = {}
        self._tending: asyncio.Task[None] | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def busy(self) -> int:
        """How many sessions connect or have audio under way."""
        return sum(session.is_busy for session, _ in self._sessions.values())

    async def open(
        self, account: str, agent: Agent, offer: Offer, limit_s: float | None = None
    ) -> tuple[Session, str]:
        """Start a session and return it with its SDP answer; it ends after `limit_s` seconds.

        Raises AtCapacityError, and OfferError where the offer cannot be answered.
        """
        self._check_room()
        session = Session(
            account=account,
            agent=agent,
            offer=offer,
            needs=self._needs,
            queue=self._queue,
            limit_s=limit_s,
        )
        task = asyncio.create_task(session.run(), name=f"session {session.session_id}")
        self._sessions[session.session_id] = (session, task)
        task.add_done_callback(lambda done: self._forget(session.session_id, done))
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="tend sessions")
        try:
            # What the connection starts from here on logs with the id of the session.
            with structlog.contextvars.bound_contextvars(session_id=session.session_id):
                return session, await session.answer()
        except BaseException:
            session.end("disconnected")
            raise

    def _check_room(self) -> None:
        settings = self._needs.settings
        if self._is_closed:
            raise AtCapacityError("the gateway is shutting down")
        if len(self._sessions) >= settings.max_sessions:
            raise AtCapacityError(
                f"this gateway serves {settings.max_sessions} sessions at most"
                " (EDGEWISE_MAX_SESSIONS)"
            )
        if self.busy >= settings.max_busy_sessions:
            raise AtCapacityError(
                f"this gateway serves {settings.max_busy_sessions} busy sessions at most"
                " (EDGEWISE_MAX_BUSY_SESSIONS)"
            )

    def find(self, session_id: str, account: str) -> Session | None:
        """Return a session of this account, or None."""
        found = self._sessions.get(session_id)
        return found[0] if found is not None and found[0].account == account else None

    async def end(self, session: Session) -> None:
        """End a session and wait until nothing of it is left."""
        session.end("deleted")
        found = self._sessions.get(session.session_id)
        if found is not None:
            await asyncio.wait({found[1]}, timeout=SHUTDOWN_S)

    async def close(self) -> None:
        """End every session, and take no more."""
        self._is_closed = True
        tasks = set()
        for session, task in self._sessions.values():
            session.end("shutdown")
            tasks.add(task)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SHUTDOWN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        self._queue.close()

    def _forget(self, session_id: str, task: asyncio.Task[None]) -> None:
        self._sessions.pop(session_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session crashed", session_id=session_id, exc_info=error)

    async def _tend(self) -> None:
        structlog.contextvars.unbind_contextvars("request_id")  # of the first session's request
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TEND_S)
            for session, _ in tuple(self._sessions.values()):
                try:
                    await session.tend(loop.time())
                except Exception:  # noqa: BLE001  # one broken session must not take the others along
                    _log.exception("session not tended", session_id=session.session_id)
                    session.end("disconnected")
