"""The operator's TOML file: which model names there are, who answers them, and the limits.

The upstreams are named by the operator, so the address policy for users' endpoints does not
apply to them: a model on loopback or in the LAN is fine.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
)

from schemas.account import AccountName
from schemas.closed import Closed
from workers.errors import ConfigurationError, InvalidBaseUrlError
from workers.providers.base_url import parse_base_url
from workers.settings import OFFLINE_MODEL

SETTING: Final = "EDGEWISE_LLM_GATEWAY_MODELS"
MAX_FILE: Final = 1_048_576
MAX_NAMED: Final = 10_000

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Seconds = Annotated[float, Field(gt=0, le=3_600)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _normal_url(text: str) -> str:
    try:
        return str(parse_base_url(text))
    except InvalidBaseUrlError as error:
        raise ValueError(str(error)) from None


BaseUrl = Annotated[str, AfterValidator(_normal_url)]


class Upstream(Closed):
    """Who answers a model name: an OpenAI-compatible endpoint, and how long it may take."""

    base_url: BaseUrl
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    api_key_env: VariableName | None = None
    region: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    first_token_s: Seconds = 8.0
    between_tokens_s: Seconds = 10.0
    total_s: Seconds = 300.0
    stream_usage: bool = True
    """Whether the endpoint may be asked for `stream_options.include_usage`."""


class Limits(Closed):
    """What an account may use in a minute; None is without a limit."""

    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None


class ModelsFile(Closed):
    """The whole file."""

    models: Annotated[dict[ModelName, Upstream], Field(default_factory=dict, max_length=MAX_NAMED)]
    limits: Limits = Limits()
    accounts: Annotated[
        dict[AccountName, Limits], Field(default_factory=dict, max_length=MAX_NAMED)
    ]

    @field_validator("models")
    @classmethod
    def _leave_the_built_in_one(cls, models: dict[str, Upstream]) -> dict[str, Upstream]:
        if OFFLINE_MODEL in models:
            raise ValueError(f"{OFFLINE_MODEL} is the built-in responder; take another name")
        return models


class Route(BaseModel):
    """A model name with its upstream and its key."""

    model_config = ConfigDict(frozen=True)

    name: str
    upstream: Upstream
    api_key: SecretStr | None = None


class ModelTable(BaseModel):
    """What is in force: a route per model name, the limits of each account."""

    model_config = ConfigDict(frozen=True)

    routes: dict[str, Route] = {}
    limits: Limits = Limits()
    accounts: dict[str, Limits] = {}

    def limits_of(self, account: str) -> Limits:
        """Return the limits of an account: its own ones, else those of all."""
        return self.accounts.get(account, self.limits)


def read_models(path: Path, environ: Mapping[str, str]) -> ModelTable:
    """Read and check the file; raises ConfigurationError, whose message holds no value of it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{SETTING}: {path}: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{SETTING}: {path} is longer than {MAX_FILE} bytes")
    try:
        return parse_models(raw, environ)
    except ValueError as error:
        raise ConfigurationError(f"{SETTING}: {path}: {error}") from None


def parse_models(raw: bytes, environ: Mapping[str, str]) -> ModelTable:
    """Return what the bytes of a file say; keys come from `environ`. Raises ValueError."""
    try:
        tree: dict[str, Any] = tomllib.loads(raw.decode())
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"it is no TOML: {error}") from None
    try:
        file = ModelsFile.model_validate(tree)
    except ValidationError as error:
        raise ValueError(_first_words(error)) from None
    routes = {
        name: Route(name=name, upstream=upstream, api_key=_key(name, upstream, environ))
        for name, upstream in file.models.items()
    }
    return ModelTable(routes=routes, limits=file.limits, accounts=file.accounts)


def _first_words(error: ValidationError) -> str:
    """Name up to three faults by their place; what stands there may be a key by mistake."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    said = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {_in_words(fault)}"
        for fault in faults[:3]
    ]
    more = f"; and {len(faults) - 3} more" if len(faults) > len(said) else ""
    return "; ".join(said) + more


def _in_words(fault: Any) -> str:
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ")
    within: type[Closed] = ModelsFile
    if len(fault["loc"]) > 1:
        within = Upstream if fault["loc"][0] == "models" else Limits
    return f"unknown word; one of: {', '.join(within.model_fields)}"


def _key(name: str, upstream: Upstream, environ: Mapping[str, str]) -> SecretStr | None:
    if upstream.api_key_env is None:
        return None
    key = environ.get(upstream.api_key_env, "").strip()
    if not key:
        raise ValueError(f"models.{name}.api_key_env: ${upstream.api_key_env} is not set")
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"models.{name}.api_key_env: ${upstream.api_key_env} holds no key")
    return SecretStr(key)
