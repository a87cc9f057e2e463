"""An agent: what a caller stores, what the API returns, what a turn reads."""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from schemas.closed import Closed
from schemas.ids import AgentId

VOICES: Final = {
    "ivy": "English (United States), clear and even",
    "oliver": "English (Great Britain), lower",
    "skye": "English (Scotland), brisk",
    "ruby": "English (Great Britain, received pronunciation), warm",
}
"""The voices of the built-in engine that `voice_id` may name, each with a line about it."""


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
Prompt = Annotated[Text, StringConstraints(min_length=1, max_length=32_768)]
Greeting = Annotated[Text, StringConstraints(min_length=1, max_length=2_048)]
Keyterm = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
Encoding = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
Milliseconds = Annotated[int, Field(ge=100, le=6_000)]


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

    vad_threshold: float = Field(default=0.5, ge=0, le=1)
    min_silence: Milliseconds | None = None
    max_silence: Milliseconds | None = None
    interrupt_response: bool = True
    interruption_delay: int = Field(default=0, ge=0, le=1_000)

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
    volume: int = Field(default=100, ge=0, le=100)


class LlmView(Closed):
    """An LLM entry as it is read back: its key never is."""

    base_url: str
    model: str


class AgentCreate(Closed):
    """The body of `POST /v1/agents`."""

    name: Name
    system_prompt: Prompt
    voice: Voice
    greeting: Greeting | None = None
    input: Input = Input()
    output: Output = Output()
    llm: tuple[()] = ()
    """Empty: the managed model."""

    @field_validator("llm", mode="before")
    @classmethod
    def _is_managed(cls, value: object) -> object:
        if isinstance(value, list | tuple) and value:
            raise ValueError("LLM entries are not supported yet: send [] for the managed model")
        return value


class Agent(Closed):
    """The stored record, as the API returns it and as a turn reads it."""

    id: AgentId
    name: Name
    system_prompt: Prompt
    greeting: Greeting | None
    voice: Voice
    input: Input
    output: Output
    llm: tuple[LlmView, ...]
    created_at: datetime
    updated_at: datetime
