"""One connected conversation: the peer, its gate, its turns, its events."""

import asyncio
import time
from functools import partial
from typing import Any, Final

import structlog
from aiortc import RTCDataChannel
from redis.exceptions import RedisError

from edge.media.receive_buffer import Received
from schemas.agent import Agent
from schemas.ids import new_id
from schemas.session_events import (
    ClientEvent,
    ConversationMessage,
    GateClosed,
    GateOpened,
    ReplyCancel,
    ReplyCreate,
    SessionEnd,
    SessionEnded,
    SessionError,
    SessionReady,
    SessionUpdated,
    ToolResultEvent,
)
from schemas.session_history import Reason
from workers.gateway.needs import Needs
from workers.gateway.session.agent_in_force import AgentInForce
from workers.gateway.session.channel import EventChannel
from workers.gateway.session.client_calls import ClientCalls
from workers.gateway.session.conversation import Conversation
from workers.gateway.session.endpointing import EndpointRule
from workers.gateway.session.liveness import CONNECT_S, DEVICE, STRANGER, Life, Liveness
from workers.gateway.session.own_apology import OwnApology
from workers.gateway.session.peer import Peer
from workers.gateway.session.playout import Playout
from workers.gateway.session.sdp_offer import Offer
from workers.gateway.session.speech_input import SpeechInput
from workers.gateway.session.turn_queue import TurnQueue
from workers.settings import Settings
from workers.storage.sessions.conversation import Added

CHANNEL_S: Final = 3.0
"""How long the greeting waits for a channel that was announced."""
KEEP_ALIVE_S: Final = 1.0
FORGET_S: Final = 1.0
_log = structlog.get_logger(__name__)


class Session:
    """A session from its offer until `end`; `run` lasts as long as it does."""

    def __init__(
        self,
        *,
        account: str,
        agent: Agent,
        offer: Offer,
        needs: Needs,
        queue: TurnQueue,
        limit_s: float | None = None,
    ) -> None:
        self.session_id = new_id("session")
        self.account = account
        self._agent = AgentInForce(agent, account, needs.agents, self._agent_changed)
        self._apology = OwnApology(self._agent, needs.apologies)
        self._offer = offer
        self._loop = asyncio.get_running_loop()
        self._peer = Peer(self, needs.settings.ice_servers)
        self._playout = Playout(self._peer.send)
        self._told: dict[str, Any] = {}
        self._channel = EventChannel(self._on_event)
        self._calls = ClientCalls(self._channel.send, lambda: self._channel.is_open)
        self._conversation = Conversation(
            session_id=self.session_id,
            agent=self._agent,
            rule=_endpoint_rule(needs.settings),
            streams=needs.streams,
            queue=queue,
            history=needs.history,
            playout=self._playout,
            emit=self._channel.send,
            record=partial(needs.recorder.added, self.session_id),
            calls=self._calls,
            apology=self._apology,
        )
        self._speech = SpeechInput(
            threshold=lambda: self._agent.detection.vad_threshold,
            opened=self._conversation.gate_opened,
            closed=self._conversation.gate_closed,
            passed=self._conversation.packet,
        )
        self._is_connected = False
        self._life = Life.ALIVE
        self._began = self._loop.time()
        self._limit_s = limit_s
        self._expires_at = None if limit_s is None else time.time() + limit_s
        self._liveness = Liveness(self._began)
        self._kept_alive = self._began
        self._greet_at: float | None = None
        self._reason: Reason | None = None
        self._history = needs.history
        self._recorder = needs.recorder
        self._is_recorded = False
        self._ended = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """True while it connects or audio is under way."""
        return not self._is_connected or self._conversation.is_busy

    async def answer(self) -> str:
        """Return the SDP answer; raises OfferError."""
        answer = await self._peer.answer(self._offer)
        self._recorder.started(self.session_id, self.account, self._agent.record.id)
        self._is_recorded = True
        return answer

    async def run(self) -> None:
        """Last until the session ends, then leave nothing of it behind."""
        structlog.contextvars.bind_contextvars(session_id=self.session_id)
        _log.info("session started", agent_id=self._agent.record.id)
        self._apology.look()
        try:
            await self._ended.wait()
        finally:
            self._speech.close()
            await self._conversation.close()
            await self._agent.close()
            await self._apology.close()
            self._channel.send(SessionEnded())
            await self._peer.close()
            await self._close_history()
            _log.info("session ended", reason=self._reason)

    async def _close_history(self) -> None:
        """Say that the session is over; where nothing may be kept, forget what was said."""
        if self._is_recorded:
            self._recorder.ended(self.session_id, self._reason or "shutdown")
        if self._recorder.keeps:
            return
        try:
            async with asyncio.timeout(FORGET_S):
                await self._history.forget(self.session_id)
        except (RedisError, TimeoutError) as error:
            _log.warning("conversation not forgotten", error=type(error).__name__)

    def end(self, reason: Reason) -> None:
        """Begin to end the session."""
        self._reason = self._reason or reason
        self._ended.set()

    async def tend(self, now: float) -> None:
        """Look after the session; called about twice a second, on the loop's clock."""
        if self._limit_s is not None and now - self._began >= self._limit_s:
            self._expire()
            return
        if not self._is_connected:
            if now - self._began > CONNECT_S:
                self.end("never_connected")
            return
        self._look_for_life(now)
        if self._greet_at is not None and now >= self._greet_at:
            self._greet()
        last_sent = max(self._kept_alive, self._playout.last_sent)
        if now - last_sent >= KEEP_ALIVE_S:
            self._kept_alive = now
            await self._peer.keep_alive()

    def _expire(self) -> None:
        message = "the session has lasted as long as its token allows"
        self._channel.send(SessionError(code="session_expired", message=message))
        self.end("expired")

    def _look_for_life(self, now: float) -> None:
        patience = DEVICE if self._speech.client_gates else STRANGER
        life = self._liveness.look(self._peer.packets_received, now, patience)
        if life is Life.GONE:
            self.end("silent")
        elif life is not self._life:
            _log.info("peer is " + life.value, session_id=self.session_id)
        self._life = life

    def connected(self) -> None:
        """Take in that audio can flow; the agent may greet."""
        if self._is_connected:
            return
        self._is_connected = True
        wait = CHANNEL_S if self._offer.has_data and not self._channel.is_open else 0.0
        self._greet_at = self._loop.time() + wait
        if not wait:
            self._greet()

    def disconnected(self) -> None:
        """Take in that the peer is gone."""
        self.end("disconnected")

    def channel_opened(self, channel: RTCDataChannel) -> None:
        """Take in the client's channel: it hears that the session is up."""
        if self._channel.is_open:
            return
        self._channel.attach(channel)
        self._told = self._config()
        self._channel.send(
            SessionReady(session_id=self.session_id, config=self._told, expires_at=self._expires_at)
        )
        if self._is_connected:
            self._greet()

    def _greet(self) -> None:
        if self._greet_at is not None:
            self._greet_at = None
            self._conversation.greet()

    def _config(self) -> dict[str, Any]:
        agent = self._agent.record
        told = agent.model_dump(mode="json", include={"name", "greeting", "voice", "input"})
        return {"agent_id": agent.id, **told}

    def _agent_changed(self) -> None:
        """Tell the client what it was told of the agent, where that is another now."""
        config = self._config()
        if self._channel.is_open and config != self._told:
            self._told = config
            self._channel.send(SessionUpdated(config=config))

    def packet_received(self, packet: Received) -> None:
        """Take one Opus packet of the user's."""
        self._speech.packet(packet)

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case GateOpened():
                self._speech.client_opened()
            case GateClosed():
                self._speech.client_closed(event.silence_ms)
            case ReplyCancel():
                self._conversation.cancel_reply(event.reply_id)
            case ReplyCreate():
                self._conversation.create_reply(event.instructions)
            case ConversationMessage():
                self._conversation.add(Added(role=event.role, content=event.content))
            case ToolResultEvent():
                self._calls.take(event)
            case SessionEnd():
                self.end("client")


def _endpoint_rule(settings: Settings) -> EndpointRule:
    return EndpointRule(settings.endpoint_silence_ms / 1000, settings.max_utterance_s)
