"""Every setting of a device, read once from options, `EDGEWISE_*` variables and `.env`."""

import shlex
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from edge.errors import BadInputError

REPLY_RATE: Final = 48_000
"""Sample rate of what is played and written, in hertz; Opus decodes to it without resampling."""


class DeviceSettings(BaseSettings):
    """What is in force on the device. Frozen; the key shows as asterisks."""

    model_config = SettingsConfigDict(
        env_prefix="EDGEWISE_", env_file=".env", extra="ignore", frozen=True
    )

    server: str = Field(default="http://127.0.0.1:8300", description="base URL of the gateway")
    agent: str = Field(min_length=1, max_length=200, description="id of the agent to talk to")
    api_key: SecretStr = Field(min_length=1, description="Bearer key of the gateway")
    input_device: str | None = Field(default=None, description="microphone: index or part of name")
    output_device: str | None = Field(default=None, description="speaker: index or part of name")
    ice_servers: tuple[str, ...] = Field(default=(), description="stun: and turn: URLs, JSON list")

    tools: dict[str, str] = Field(
        default={}, description="programs that the agent may run, by tool, JSON object"
    )

    vad_threshold: float = Field(default=0.5, ge=0, le=1, description="how sure speech must be")
    barge_in: bool = Field(default=True, description="listen while a reply plays")
    connect_s: float = Field(default=10.0, gt=0, description="deadline to be connected")
    degraded_s: float = Field(default=2.0, gt=0, description="without a sign of life: degraded")
    lost_s: float = Field(default=5.0, gt=0, description="without a sign of life: connect anew")
    no_answer_s: float = Field(default=20.0, gt=0, description="a turn without any sign is over")

    @property
    def sessions_url(self) -> str:
        """Where a session of the agent is opened."""
        return f"{self.server.rstrip('/')}/v1/agents/{quote(self.agent, safe='')}/sessions"


_HINTS = {
    "agent": "name the agent with --agent or EDGEWISE_AGENT",
    "api_key": "pass the server's key with EDGEWISE_API_KEY or --api-key",
    "server": "name the gateway with --server or EDGEWISE_SERVER",
}


def read_settings(**given: Any) -> DeviceSettings:
    """Return the settings: `given` (None: not given) over the environment; or BadInputError."""
    if isinstance(given.get("ice_servers"), list):
        given["ice_servers"] = tuple(given["ice_servers"]) or None
    if isinstance(given.get("tools"), list):
        given["tools"] = _programs(given["tools"]) or None
    try:
        settings = DeviceSettings(
            **{key: value for key, value in given.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        what = "is missing" if first["type"] == "missing" else first["msg"].lower()
        hint = _HINTS.get(name, f"set EDGEWISE_{name.upper()}")
        raise BadInputError(f"{name}: {what}; {hint}.") from None
    except SettingsError as error:
        raise BadInputError(
            f"{error}: write a JSON list or object, such as "
            '["stun:host:3478"] or {"lights_on": "./lights on"}.'
        ) from None
    parts = urlsplit(settings.server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInputError(
            f"server: {settings.server!r} is not an http(s) URL; "
            "pass one such as --server http://192.168.1.20:8300."
        )
    return settings


def _programs(given: list[str]) -> dict[str, str]:
    """Return command lines by tool, from `NAME=COMMAND`; or BadInputError."""
    programs = {}
    for text in given:
        name, _, command = text.partition("=")
        if not name or not _is_command(command):
            raise BadInputError(
                f"tool: {text!r} is not NAME=COMMAND; pass --tool lights_on='./lights on'."
            )
        programs[name] = command
    return programs


def _is_command(text: str) -> bool:
    """Tell whether a text can be split into a program and its arguments."""
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False
