"""An agent: what a caller stores, what the API returns, what a turn reads."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from schemas.closed import Closed
from schemas.ids import AgentId
from schemas.text import (
    NO_NUL,
    ExternalId,
    GivenGreeting,
    GivenPrompt,
    Greeting,
    Keyterm,
    Line,
    Name,
    Prompt,
    with_a_word,
)
from schemas.tool import Tool, Tools, ToolView

VOICES: Final = {
    "ivy": "English (United States), clear and even",
    "oliver": "English (Great Britain), lower",
    "skye": "English (Scotland), brisk",
    "ruby": "English (Great Britain, received pronunciation), warm",
}
"""The voices of the built-in engine that `voice_id` may name, each with a line about it."""


Encoding = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
Milliseconds = Annotated[StrictInt, Field(ge=100, le=6_000)]
Seconds = Annotated[float, Field(ge=0.1, le=300, allow_inf_nan=False)]


class Voice(Closed):
    """Which voice speaks."""

    voice_id: str = Field(max_length=64)

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.voice_id not in VOICES:
            raise ValueError(f"unknown voice; one of: {', '.join(VOICES)}")
        return self


class TurnDetection(Closed):
    """When a turn begins and ends; times in milliseconds, null means adaptive."""

    vad_threshold: StrictFloat = Field(default=0.5, ge=0, le=1)
    min_silence: Milliseconds | None = None
    max_silence: Milliseconds | None = None
    interrupt_response: StrictBool = True
    interruption_delay: StrictInt = Field(default=0, ge=0, le=1_000)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_silence and self.max_silence and self.min_silence > self.max_silence:
            raise ValueError("min_silence is longer than max_silence")
        return self


class AudioFormat(Closed):
    """How audio is coded on the WebSocket; WebRTC sessions always use Opus."""

    encoding: Encoding = "audio/pcm"
    sample_rate: Literal[24_000, 8_000] | None = None

    @model_validator(mode="after")
    def _rate_fits(self) -> Self:
        wanted = 24_000 if self.encoding == "audio/pcm" else 8_000
        if self.sample_rate not in (None, wanted):
            raise ValueError(f"{self.encoding} is {wanted} Hz")
        return self


class Input(Closed):
    """What the agent listens with."""

    format: AudioFormat = AudioFormat()
    keyterms: tuple[Keyterm, ...] = Field(default=(), max_length=100)
    turn_detection: TurnDetection = TurnDetection()


class Output(Closed):
    """What the agent speaks with."""

    format: AudioFormat = AudioFormat()
    volume: StrictInt = Field(default=100, ge=0, le=100)


class Lines(Closed):
    """What is said when the model cannot speak for itself; null is the built-in line."""

    filler: Line | None = None
    """While the first words are late; empty: nothing is said."""
    failed: Line | None = None
    """When there will be no reply; the built-in line depends on what went wrong."""
    broken_off: Line | None = None
    """When a reply ends in the middle."""
    not_understood: Line | None = None
    """When the user's words could not be made out."""

    @field_validator("*")
    @classmethod
    def _can_be_said(cls, line: str | None, info: ValidationInfo) -> str | None:
        is_silence = line is None or (line == "" and info.field_name == "filler")
        return line if is_silence else with_a_word(line or "")


class Deadlines(Closed):
    """How long to wait for the model, in seconds; null, and what is longer, is the operator's."""

    connect: Seconds | None = None
    first_token: Seconds | None = None
    """To the first word of the last model that can be asked."""
    between_tokens: Seconds | None = None
    total: Seconds | None = None
    """For the whole reply, from the first request on."""


MAX_BASE_URL: Final = 2_048
MAX_API_KEY: Final = 1_024
MAX_ENTRIES: Final = 8
"""How many LLM entries an agent may have where the operator allows the most fallbacks."""
NO_STORED_KEY: Final = "there is no stored key to keep for this base_url; send one"
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")


def _fits_a_header(value: SecretStr) -> SecretStr:
    if not _VISIBLE_ASCII.fullmatch(value.get_secret_value()):
        raise ValueError("holds a space or other than visible ASCII characters")
    return value


ApiKey = Annotated[
    SecretStr, Field(min_length=1, max_length=MAX_API_KEY), AfterValidator(_fits_a_header)
]
BaseUrl = Annotated[str, StringConstraints(min_length=1, max_length=MAX_BASE_URL), NO_NUL]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256), NO_NUL]


class LlmEntry(Closed):
    """A model of the caller's own, as it is sent: the one place where its key is in clear."""

    base_url: BaseUrl
    model: ModelName
    api_key: ApiKey


class LlmView(Closed):
    """An LLM entry as it is read back: its key never is."""

    base_url: str
    model: str


Llm = Annotated[tuple[LlmEntry, ...], Field(max_length=MAX_ENTRIES)]


def too_many(most: int) -> str:
    """Say that a list of LLM entries is longer than the operator allows, and by what setting."""
    entries = "entry" if most == 1 else "entries"
    return f"holds more than {most} {entries}, which is what EDGEWISE_LLM_FALLBACKS allows"


class AgentFields(Closed):
    """What an agent is, but for its models and tools."""

    name: Name
    system_prompt: Prompt
    voice: Voice
    greeting: Greeting | None = None
    input: Input = Input()
    output: Output = Output()
    lines: Lines = Lines()
    deadlines: Deadlines = Deadlines()


class GivenFields(AgentFields):
    """`AgentFields` as they are taken in; what was stored before is read without these rules."""

    system_prompt: GivenPrompt
    greeting: GivenGreeting | None = None


class AgentCreate(GivenFields):
    """The body of `POST /v1/agents`."""

    llm: Llm = ()
    """Empty: the managed model."""
    tools: Tools = ()
    """What the model may call."""


def _left_out() -> Any:
    """Stand for a field that was not sent; never seen outside, for what was sent is noted."""
    return None


class ChangedFields(Closed):
    """Top-level fields to replace, each whole; one that is left out is kept."""

    name: Name = Field(default_factory=_left_out)
    system_prompt: Prompt = Field(default_factory=_left_out)
    voice: Voice = Field(default_factory=_left_out)
    greeting: Greeting | None = None
    input: Input = Field(default_factory=_left_out)
    output: Output = Field(default_factory=_left_out)
    lines: Lines = Field(default_factory=_left_out)
    deadlines: Deadlines = Field(default_factory=_left_out)

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name in self.model_fields_set}

    def given(self) -> dict[str, Any]:
        """Return the values to replace, by field; models and tools are not among them."""
        names = self.model_fields_set & AgentFields.model_fields.keys()
        return {name: getattr(self, name) for name in names}


class GivenChanges(ChangedFields):
    """`ChangedFields` as they are taken in, with the rules of `GivenFields`."""

    system_prompt: GivenPrompt = Field(default_factory=_left_out)
    greeting: GivenGreeting | None = None


class AgentUpdate(GivenChanges):
    """The body of `PUT /v1/agents/{id}`."""

    llm: Llm = Field(default_factory=_left_out)
    """A new list replaces the old one whole, keys included; empty: the managed model."""

    tools: Tools = Field(default_factory=_left_out)
    """A new list replaces the old one whole, values of headers included; empty: none."""

    @property
    def entries(self) -> tuple[LlmEntry, ...] | None:
        """The new list of models; None where there is none and the old one is kept."""
        return self.llm if "llm" in self.model_fields_set else None

    @property
    def new_tools(self) -> tuple[Tool, ...] | None:
        """The new list of tools; None where there is none and the old one is kept."""
        return self.tools if "tools" in self.model_fields_set else None


class Agent(Closed):
    """The stored record, as the API returns it and as a turn reads it."""

    id: AgentId
    external_id: ExternalId | None = None
    """What its owner calls it, where it came by a batch, a message or a webhook under that name."""
    name: Name
    system_prompt: Prompt
    greeting: Greeting | None
    voice: Voice
    input: Input
    output: Output
    lines: Lines = Lines()
    deadlines: Deadlines = Deadlines()
    llm: tuple[LlmView, ...]
    tools: tuple[ToolView, ...] = ()
    created_at: datetime
    updated_at: datetime
