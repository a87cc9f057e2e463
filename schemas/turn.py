"""What the gateway and the turn workers say to each other about one turn.

The Celery message (`TurnTask`) names things and holds no audio and no secret. The words of
the turn travel on two Redis streams: `turn:{id}:input` towards the worker and
`turn:{id}:reply` back. Each entry of a stream has the fields `body` (JSON) and, where
there is audio, `data` (Opus packets joined by `schemas.audio.pack_packets`).
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, TypeAdapter

from schemas.audio import pack_packets, unpack_packets
from schemas.chat import FailedTry
from schemas.closed import Closed
from schemas.ids import AgentId, SessionId, TurnId

TURN_QUEUE: Final = "turns"
TURN_TASK: Final = "turns.run"
MAX_ATTEMPTS: Final = 3
MAX_FAILURES: Final = 32
"""Failed tries at models that the metrics of a turn name, the first ones."""
HEARTBEAT_S: Final = 0.5
"""How often a worker that works on a turn says so, in seconds."""
SILENT_WORKER_S: Final = 1.5
"""After this long without an entry from the worker the turn is sent again, in seconds."""


class Spoken(Closed):
    """A sentence that the user has heard, or begun to hear, from an earlier attempt."""

    text: str
    packets: int = Field(ge=0)
    """How many 20 ms packets of it were accepted."""
    complete: bool
    is_aside: bool = False
    """It is no part of what the model said: a filler, an apology."""


class TurnTask(Closed):
    """The Celery message: which turn to run, and which try this is."""

    version: Literal[1] = 1
    kind: Literal["utterance", "greeting", "reply"]
    """`reply`: nobody spoke; the client asked for it, and `Instruct` says what for."""
    turn_id: TurnId
    session_id: SessionId
    agent_id: AgentId
    attempt: int = Field(ge=1, le=MAX_ATTEMPTS)
    published_at: float
    """Epoch seconds at the moment of publishing; measures the queue."""


class UserAudio(Closed):
    """Opus packets of the user's speech, in order."""

    type: Literal["audio"] = "audio"
    packets: tuple[bytes, ...]


class Pause(Closed):
    """The user has been silent for a moment; the worker may begin to guess a reply."""

    type: Literal["pause"] = "pause"


class Resume(Closed):
    """The user speaks on; what was guessed at the pause is thrown away."""

    type: Literal["resume"] = "resume"


class End(Closed):
    """The endpoint: the user is done, the reply may be heard."""

    type: Literal["end"] = "end"
    silence_ms: float = Field(ge=0)
    """How long the user had been silent when this was decided."""


class Cancel(Closed):
    """Stop now, up to the stream of the model; nothing more will be heard."""

    type: Literal["cancel"] = "cancel"
    reason: Literal["barge_in", "session_ended", "superseded", "reply_cancelled"]


class Instruct(Closed):
    """What holds for a reply that the client asked for; the first entry of such a turn."""

    type: Literal["instruct"] = "instruct"
    instructions: str | None = None


class ToolResult(Closed):
    """What a tool that the client runs has answered; comes after `end`."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str
    result: str
    is_error: bool


TurnInput = UserAudio | Pause | Resume | End | Cancel | Instruct | ToolResult


class TurnMetrics(Closed):
    """Where the time of a turn went, in milliseconds; None where a stage did not happen."""

    queue_ms: float | None = None
    """From publishing to the start of the task."""
    stt_ms: float | None = None
    """From the last pause to its transcript."""
    llm_first_token_ms: float | None = None
    """From the request to the first content token."""
    tts_first_audio_ms: float | None = None
    """From the first sentence to its first packet."""
    engine_ms: float | None = None
    """What the engines took between the last pause and the first packet, one after another."""
    endpoint_to_audio_ms: float | None = None
    """From the `end` entry to the first packet let out."""
    total_ms: float | None = None
    """From the start of the task to `done`."""
    model: str | None = None
    """The model that answered; of those that failed, the last."""
    entry: int | None = None
    """Its place in the agent's list, from 0; None is the managed model."""
    tries: int = 0
    """How many requests it took until a model answered, 1 where the first did."""
    failures: tuple[FailedTry, ...] = Field(default=(), max_length=MAX_FAILURES)
    """The tries that came to nothing, in order."""
    prompt_tokens: int | None = None
    """What the model was sent, as its endpoint counts it; None where it does not say."""
    completion_tokens: int | None = None
    """And what it wrote; both over all rounds of tools."""


class Started(Closed):
    """A worker has taken the turn up."""

    type: Literal["started"] = "started"
    attempt: int


class Transcript(Closed):
    """What the user said, all so far; `final` once nothing more is heard before the reply."""

    type: Literal["transcript"] = "transcript"
    attempt: int
    text: str
    final: bool


class Asked(Closed):
    """What the model is asked, as the endpoint gets it; no key is in it."""

    type: Literal["asked"] = "asked"
    attempt: int
    model: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[str, ...] = ()
    """The names of the tools that it may call."""
    prompt_suffix: str | None = None
    """The operator's text, where one is part of the system message."""


class Measured(Closed):
    """What is known of the turn when the model's first sentence is there; `Done` knows all."""

    type: Literal["measured"] = "measured"
    attempt: int
    metrics: TurnMetrics


class ReplyText(Closed):
    """The words of a sentence; its audio follows."""

    type: Literal["text"] = "text"
    attempt: int
    sentence: int = Field(ge=0)
    text: str
    is_aside: bool = False
    """It is heard, but no part of what the model said: a filler, an apology."""


class ReplyAudio(Closed):
    """Opus packets of one sentence; `first` counts packets from the start of that sentence."""

    type: Literal["audio"] = "audio"
    attempt: int
    sentence: int = Field(ge=0)
    first: int = Field(ge=0)
    last: bool
    """True on the entry that completes the sentence."""
    packets: tuple[bytes, ...]


class ToolAsked(Closed):
    """The client is to run a tool; a further attempt says so again, under the same id."""

    type: Literal["tool"] = "tool"
    attempt: int
    call_id: str
    name: str
    arguments: dict[str, Any]
    timeout_s: float
    """After this long without a result nobody waits for it."""


class Heartbeat(Closed):
    """The worker is alive and at work on the turn."""

    type: Literal["heartbeat"] = "heartbeat"
    attempt: int


class TurnError(Closed):
    """The reply failed; a spoken line may still follow, then `done`."""

    type: Literal["error"] = "error"
    attempt: int
    code: str
    message: str
    retryable: bool
    status_code: int | None = None


class Done(Closed):
    """The last entry of an attempt."""

    type: Literal["done"] = "done"
    attempt: int
    status: Literal["completed", "ignored", "cancelled", "failed"]
    """`ignored`: there was no speech in what was heard, so there is no reply."""
    metrics: TurnMetrics = TurnMetrics()


TurnReply = (
    Started
    | Transcript
    | Asked
    | Measured
    | ReplyText
    | ReplyAudio
    | ToolAsked
    | Heartbeat
    | TurnError
    | Done
)

_Entry = TypeVar("_Entry")
_INPUT: TypeAdapter[TurnInput] = TypeAdapter(Annotated[TurnInput, Field(discriminator="type")])
_REPLY: TypeAdapter[TurnReply] = TypeAdapter(Annotated[TurnReply, Field(discriminator="type")])


def input_stream(turn_id: str) -> str:
    """Name the Redis stream that carries the utterance."""
    return f"turn:{turn_id}:input"


def reply_stream(turn_id: str) -> str:
    """Name the Redis stream that carries the reply."""
    return f"turn:{turn_id}:reply"


def spoken_key(turn_id: str) -> str:
    """Name the Redis list of `Spoken` that a further attempt must not say again."""
    return f"turn:{turn_id}:spoken"


def _read(adapter: TypeAdapter[_Entry], fields: Mapping[bytes, bytes]) -> _Entry:
    body = json.loads(fields.get(b"body", b""))
    if not isinstance(body, dict):
        raise ValueError("the body of a stream entry is a JSON object")  # noqa: TRY004  # malformed input is one error to its readers
    if b"data" in fields:
        body["packets"] = unpack_packets(fields[b"data"])
    return adapter.validate_python(body)


def to_fields(entry: TurnInput | TurnReply) -> dict[str, str | bytes]:
    """Write an entry as the fields of a Redis stream entry."""
    fields: dict[str, str | bytes] = {"body": entry.model_dump_json(exclude={"packets"})}
    if isinstance(entry, UserAudio | ReplyAudio):
        fields["data"] = pack_packets(entry.packets)
    return fields


def input_from_fields(fields: Mapping[bytes, bytes]) -> TurnInput:
    """Read an entry of the input stream; raises ValueError where it is malformed."""
    return _read(_INPUT, fields)


def reply_from_fields(fields: Mapping[bytes, bytes]) -> TurnReply:
    """Read an entry of the reply stream; raises ValueError where it is malformed."""
    return _read(_REPLY, fields)
