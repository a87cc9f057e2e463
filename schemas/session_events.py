"""The JSON events of a session, as they travel on the data channel `events`.

Names and fields are those of the AssemblyAI Voice Agent API where it has them; the gate
events and `reply.metrics` are ours. A server event carries `timestamp` in epoch seconds.
"""

import json
import time
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.chat import FailedTry
from schemas.closed import Closed
from schemas.wrong_event import wrong_in_words

CHANNEL: Final = "events"
MAX_EVENT_BYTES: Final = 16_000
"""Longest event on the data channel; SCTP stalls beyond what the path carries in fragments."""
MAX_TEXT: Final = 8_192
"""Longest content of a message, and longest instructions, in characters."""


class GateOpened(Closed):
    """The device's gate let speech through: audio follows."""

    type: Literal["input.gate.opened"] = "input.gate.opened"


class GateClosed(Closed):
    """The device's gate shut after this much silence, in milliseconds.

    Sent once when the channel opens, too: it tells the gateway that this client gates itself.
    """

    type: Literal["input.gate.closed"] = "input.gate.closed"
    silence_ms: float = Field(ge=0, le=60_000)


class ReplyCancel(Closed):
    """Stop the reply that plays."""

    type: Literal["reply.cancel"] = "reply.cancel"
    reply_id: str | None = Field(default=None, max_length=64)


class ReplyCreate(Closed):
    """Let the agent speak without the user having spoken; `instructions` hold for this reply."""

    type: Literal["reply.create"] = "reply.create"
    instructions: str | None = Field(default=None, max_length=MAX_TEXT)


class ConversationMessage(Closed):
    """Add a message to the conversation; the model sees it from the next reply on."""

    type: Literal["conversation.message"] = "conversation.message"
    role: Literal["user", "assistant", "system"]
    content: str = Field(max_length=MAX_TEXT, pattern=r"\S")


class ToolResultEvent(Closed):
    """What a tool that the client ran has answered."""

    type: Literal["tool.result"] = "tool.result"
    call_id: str = Field(max_length=64)
    result: str
    """JSON, or any other text: the model reads it as it is."""
    is_error: bool = False


class SessionEnd(Closed):
    """The client is done."""

    type: Literal["session.end"] = "session.end"


ClientEvent = (
    GateOpened
    | GateClosed
    | ReplyCancel
    | ReplyCreate
    | ConversationMessage
    | ToolResultEvent
    | SessionEnd
)
_KINDS: Final = {kind.model_fields["type"].default: kind for kind in get_args(ClientEvent)}
_CLIENT: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])


class ServerEvent(BaseModel):
    """An event from the gateway; readers ignore fields they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    timestamp: float = Field(default_factory=time.time)


class SessionReady(ServerEvent):
    """The session is up."""

    type: Literal["session.ready"] = "session.ready"
    session_id: str
    config: dict[str, Any] = {}
    expires_at: float | None = None
    """When the session ends at the latest, in epoch seconds; None without a limit."""


class SessionUpdated(ServerEvent):
    """The agent was changed, and the session goes on with it."""

    type: Literal["session.updated"] = "session.updated"
    config: dict[str, Any]


class SessionError(ServerEvent):
    """Something is wrong with the session or with a message of the client."""

    type: Literal["session.error"] = "session.error"
    code: str
    message: str
    param: str | None = None


class SessionEnded(ServerEvent):
    """The session is over."""

    type: Literal["session.ended"] = "session.ended"


class SpeechStarted(ServerEvent):
    """The user began to speak."""

    type: Literal["input.speech.started"] = "input.speech.started"


class SpeechStopped(ServerEvent):
    """The user is judged to be done; `silence_ms` is how long that took."""

    type: Literal["input.speech.stopped"] = "input.speech.stopped"
    silence_ms: float | None = None


class UserTranscriptDelta(ServerEvent):
    """What the user has said so far, all of it."""

    type: Literal["transcript.user.delta"] = "transcript.user.delta"
    item_id: str
    text: str


class UserTranscript(ServerEvent):
    """What the user said."""

    type: Literal["transcript.user"] = "transcript.user"
    item_id: str
    text: str


class ReplyStarted(ServerEvent):
    """A reply begins; its audio follows as RTP."""

    type: Literal["reply.started"] = "reply.started"
    reply_id: str
    item_id: str


class AgentTranscriptDelta(ServerEvent):
    """The next words of the reply and when they are heard, in ms from its first sound."""

    type: Literal["transcript.agent.delta"] = "transcript.agent.delta"
    reply_id: str
    item_id: str
    delta: str
    start_ms: float
    end_ms: float


class AgentTranscript(ServerEvent):
    """What was heard of the reply."""

    type: Literal["transcript.agent"] = "transcript.agent"
    reply_id: str
    item_id: str
    text: str
    interrupted: bool


class ToolCall(ServerEvent):
    """The client is to run a tool and to answer with `tool.result`."""

    type: Literal["tool.call"] = "tool.call"
    call_id: str
    name: str
    arguments: dict[str, Any]


class ReplyDone(ServerEvent):
    """The reply is over: its last packet was sent, or it was stopped."""

    type: Literal["reply.done"] = "reply.done"
    reply_id: str
    status: Literal["completed", "interrupted", "failed"]


class ReplyError(ServerEvent):
    """The reply failed; a spoken line says so, too."""

    type: Literal["reply.error"] = "reply.error"
    reply_id: str
    code: str
    message: str
    retryable: bool
    status_code: int | None = None


class ReplyMetrics(ServerEvent):
    """Who answered, after how many attempts, and where the time went, in milliseconds."""

    type: Literal["reply.metrics"] = "reply.metrics"
    reply_id: str
    model: str | None = None
    entry: int | None = None
    """The place of the model in the agent's list, from 0; None is the managed model."""
    attempts: int = 1
    """How often the turn was sent to a worker or a model anew, the first time included."""
    failures: tuple[FailedTry, ...] = ()
    """The tries at models that came to nothing, in order."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """What the endpoint counted, over all rounds of tools; None where it does not say."""
    queue_ms: float | None = None
    stt_ms: float | None = None
    llm_first_token_ms: float | None = None
    tts_first_audio_ms: float | None = None
    engine_ms: float | None = None
    endpoint_ms: float | None = None
    endpoint_to_audio_ms: float | None = None
    total_ms: float | None = None


AnyServerEvent = (
    SessionReady
    | SessionUpdated
    | SessionError
    | SessionEnded
    | SpeechStarted
    | SpeechStopped
    | UserTranscriptDelta
    | UserTranscript
    | ReplyStarted
    | AgentTranscriptDelta
    | AgentTranscript
    | ToolCall
    | ReplyDone
    | ReplyError
    | ReplyMetrics
)
_SERVER: TypeAdapter[AnyServerEvent] = TypeAdapter(
    Annotated[AnyServerEvent, Field(discriminator="type")]
)


def read_client_event(text: str | bytes) -> ClientEvent:
    """Read what a client sent; raises ValueError with a line fit for the client."""
    if len(text) > MAX_EVENT_BYTES:
        raise ValueError(f"an event is at most {MAX_EVENT_BYTES} bytes")
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(wrong_in_words(first, _KINDS)) from None


def read_server_event(text: str | bytes) -> AnyServerEvent | None:
    """Read what the gateway sent; None for an event this version does not know."""
    try:
        return _SERVER.validate_json(text)
    except ValidationError as error:
        if any(problem["type"] == "union_tag_invalid" for problem in error.errors()):
            return None
        raise


def write_event(event: ClientEvent | AnyServerEvent) -> str:
    """Write an event as one JSON text."""
    return json.dumps(event.model_dump(mode="json"), separators=(",", ":"))
