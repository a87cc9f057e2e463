"""Every setting of the server side, read once per process from `EDGEWISE_*` and `.env`."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.agent import MAX_ENTRIES

OFFLINE_MODEL = "edgewise-offline"


class Settings(BaseSettings):
    """What is in force. Frozen; secrets show as asterisks. Times are in seconds unless named."""

    model_config = SettingsConfigDict(
        env_prefix="EDGEWISE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(default=Path("~/.edgewise"), description="all that is written lives here")
    host: str = Field(default="127.0.0.1", description="address the gateway listens on")
    port: int = Field(default=8300, ge=0, le=65_535, description="its port; 0 takes a free one")
    api_key: SecretStr | None = Field(
        default=None, min_length=16, description="Bearer key; unset, one is made in the home"
    )

    cors_origins: str = Field(
        default="",
        description="web pages that may call the REST routes from a browser, with a key or token:"
        " `https://app.example.com,http://localhost:5173`; `*` is any",
    )

    redis_url: str | None = Field(
        default=None, description="redis://, rediss:// or unix://; unset, a private one is started"
    )
    broker_url: str | None = Field(default=None, description="Celery broker; unset, the Redis")
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; unset, SQLite in the home"
    )

    managed_llm_base_url: str | None = Field(
        default=None, description="OpenAI-compatible endpoint of the managed model"
    )
    managed_llm_model: str = Field(default=OFFLINE_MODEL, description="its model name")
    managed_llm_api_key: SecretStr | None = Field(default=None, description="its key")
    llm_gateway_host: str = Field(default="127.0.0.1", description="the LLM gateway's address")
    llm_gateway_port: int = Field(default=8301, ge=0, le=65_535, description="and port")
    llm_gateway_models: Path | None = Field(
        default=None, description="TOML file with the LLM gateway's models and limits"
    )
    llm_allow: str = Field(
        default="",
        description="where model endpoints may be besides https on the public internet, by http"
        " too: `ollama.lan:11434,10.0.0.0/8`",
    )
    tools_allow: str = Field(
        default="",
        description="where HTTP tools may be besides https on the public internet, written like"
        " EDGEWISE_LLM_ALLOW",
    )
    webhook_allow: str = Field(
        default="",
        description="where webhooks may go besides https on the public internet, written like"
        " EDGEWISE_LLM_ALLOW",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities that vouch for models, speech engines,"
        " tools and webhook endpoints, besides the public ones",
    )
    llm_connect_s: float = Field(default=1.0, gt=0, description="deadline to connect")
    llm_first_token_s: float = Field(
        default=8.0, gt=0, description="deadline to the first content token"
    )
    llm_between_tokens_s: float = Field(default=3.0, gt=0, description="between content tokens")
    llm_total_s: float = Field(default=30.0, gt=0, description="for the whole reply")
    llm_filler_s: float = Field(
        default=2.5, gt=0, description="a filler is said when the first words take longer"
    )
    llm_fallbacks: int = Field(
        default=0,
        ge=0,
        le=MAX_ENTRIES - 1,
        description="further LLM entries that an agent may have, asked in order when one fails",
    )
    llm_fallback_to_managed: bool = Field(
        default=False, description="the managed model answers when all of an agent's own fail"
    )
    llm_next_entry_s: float = Field(
        default=2.5,
        gt=0,
        description="deadline to the first content token while a further entry is left",
    )
    llm_hedging: bool = Field(
        default=False,
        description="ask the next entry, too, when one is later than 95 of 100 of its answers",
    )
    llm_breaker_failures: int = Field(
        default=5, ge=1, le=1_000, description="failures in a row after which a model rests"
    )
    llm_breaker_open_s: float = Field(
        default=10.0, ge=0.1, le=300, description="how long it rests before one turn tries it"
    )
    llm_probe_every_s: float = Field(
        default=3_600.0,
        ge=0,
        description="users' endpoints are called this often to see whether they work; 0: only"
        " when somebody asks",
    )

    prompt_max_turns: int = Field(
        default=100, ge=1, le=400, description="exchanges of a conversation that a model is sent"
    )
    prompt_max_tokens: int = Field(
        default=16_000,
        ge=100,
        le=1_000_000,
        description="size of a prompt, a token for four bytes; the system prompt and the last"
        " exchange are sent in any case",
    )
    prompt_suffix: str | None = Field(
        default=None, max_length=4_096, description="text that is added to every system prompt"
    )

    stt_engine: Literal["pocketsphinx", "openai", "scripted"] = Field(
        default="pocketsphinx",
        description="speech-to-text; `openai` is any endpoint of that protocol, `scripted` is for"
        " load tests",
    )
    stt_base_url: str | None = Field(
        default=None, description="of `openai`: where `/audio/transcriptions` is"
    )
    stt_model: str = Field(default="whisper-1", description="its model name")
    stt_api_key: SecretStr | None = Field(default=None, description="its key")
    stt_language: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$",
        description="of the speech, such as `en`; unset, the endpoint guesses",
    )
    stt_total_s: float = Field(
        default=5.0, gt=0, description="deadline from a pause to the endpoint's transcript"
    )
    stt_fallback: Literal["pocketsphinx", "none"] = Field(
        default="pocketsphinx", description="what listens where the endpoint fails"
    )
    stt_processes: int = Field(
        default=16, ge=1, le=256, description="users a worker understands at once, 21 MB each"
    )
    tts_engine: Literal["espeak", "openai"] = Field(
        default="espeak", description="text-to-speech; `openai` is any endpoint of that protocol"
    )
    tts_base_url: str | None = Field(
        default=None, description="of `openai`: where `/audio/speech` is"
    )
    tts_model: str = Field(default="tts-1", description="its model name")
    tts_api_key: SecretStr | None = Field(default=None, description="its key")
    tts_voice: str = Field(
        default="ivy=nova,oliver=onyx,skye=shimmer,ruby=fable",
        description="its voice for each of ours, or one for all",
    )
    tts_first_byte_s: float = Field(
        default=3.0, gt=0, description="deadline to the first sound of a sentence"
    )
    tts_between_bytes_s: float = Field(default=2.0, gt=0, description="between two of its sounds")
    tts_total_s: float = Field(default=30.0, gt=0, description="spent waiting for one sentence")
    tts_fallback: Literal["espeak", "none"] = Field(
        default="espeak", description="what speaks where the endpoint fails"
    )
    speech_connect_s: float = Field(
        default=1.0, gt=0, description="deadline to connect to a speech endpoint"
    )
    tts_processes: int = Field(default=2, ge=1, le=64, description="engine processes per worker")
    turn_slots: int = Field(
        default=64, ge=1, le=1_000, description="turns at once in one turn worker"
    )

    turn_workers: int = Field(
        default=1, ge=1, le=64, description="turn worker processes that `edgewise up` runs"
    )

    config_lease_s: float = Field(
        default=10.0,
        ge=1,
        le=600,
        description="how long a config event is kept from others for a worker that may have died",
    )

    config_retention_days: float = Field(
        default=30,
        ge=1,
        le=3_650,
        description="how long settled config events, ids of messages and traces of removed agents"
        " are kept",
    )

    session_history_days: int = Field(
        default=30,
        ge=0,
        le=3_650,
        description="how long what was said in a session is kept after its end; 0: not at all",
    )

    max_sessions: int = Field(default=1_000, ge=1, description="sessions of one gateway process")
    max_busy_sessions: int = Field(
        default=20, ge=1, description="sessions with audio under way in one gateway process"
    )
    endpoint_silence_ms: int = Field(
        default=600, ge=100, le=6_000, description="silence that ends the user's turn"
    )
    max_utterance_s: float = Field(default=60.0, gt=0, description="a turn is cut after this")
    ice_servers: tuple[str, ...] = Field(default=(), description="stun: and turn: URLs, JSON list")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least severe line that is logged"
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="one JSON object per line, or coloured text"
    )

    @cached_property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().absolute()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home_path / 'edgewise.db'}"

    @property
    def max_llm_entries(self) -> int:
        """How many LLM entries an agent may have."""
        return 1 + self.llm_fallbacks

    @property
    def llm_gateway_url(self) -> str:
        """Where the LLM gateway is reached, with the version in the path."""
        host = (
            f"[{self.llm_gateway_host}]" if ":" in self.llm_gateway_host else self.llm_gateway_host
        )
        return f"http://{host}:{self.llm_gateway_port}/v1"
