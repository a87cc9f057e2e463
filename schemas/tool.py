"""A tool that the model may call: run by the client, or by us with an HTTP request."""

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from schemas.closed import Closed
from schemas.text import NO_NUL

MAX_TOOLS: Final = 64
MAX_HEADERS: Final = 16
"""Headers of one tool."""
MAX_PARAMETERS: Final = 16_384
"""Characters of one tool's JSON Schema, written as JSON."""
MAX_OFFER: Final = 131_072
"""Characters of all descriptions and schemas of an agent: they go to the model in each request."""
MAX_DEPTH: Final = 16
MAX_URL: Final = 2_048
MAX_HEADER: Final = 2_048
NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_TOO_LONG: Final = f"the schema is longer than {MAX_PARAMETERS} characters"

_RESERVED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that the HTTP client sets, or that steer the connection (RFC 9110, section 7.6)."""
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of a header")
    if name.lower() in _RESERVED or name.lower().startswith("x-edgewise-"):
        raise ValueError("is a header that is set for you")
    return name


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    try:
        length = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):
        raise ValueError("holds what JSON cannot express") from None
    if length > MAX_PARAMETERS:
        raise ValueError(_TOO_LONG)
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} deep")
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner)) if inner else 0


ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
"""As OpenAI's API has it."""
Description = Annotated[str, StringConstraints(min_length=1, max_length=4_096), NO_NUL]
Parameters = Annotated[dict[str, Any], AfterValidator(_schema)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class ToolHeader(Closed):
    """A header that goes along with the request, as it is sent; its value is a secret."""

    name: HeaderName
    value: Annotated[SecretStr, Field(min_length=1, max_length=MAX_HEADER)]

    @field_validator("value")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
            raise ValueError("holds other than visible ASCII characters and inner spaces")
        return value


class ToolHeaderView(Closed):
    """A header as it is read back: its value never is."""

    name: HeaderName


class HttpToolFields(Closed):
    """Where a tool that we run is called; arguments go as JSON body, with GET as query."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
    http_method: Method = "POST"


def check_names(headers: Iterable[str]) -> None:
    """Raise ValueError where two headers of a tool have the same name."""
    names = [name.lower() for name in headers]
    if len(set(names)) != len(names):
        raise ValueError("headers: two have the same name")


class HttpTool(HttpToolFields):
    """How a tool that we run is called, as it is sent."""

    headers: tuple[ToolHeader, ...] = Field(default=(), max_length=MAX_HEADERS)

    @model_validator(mode="after")
    def _headers_are_different(self) -> Self:
        check_names(header.name for header in self.headers)
        return self


class HttpToolView(HttpToolFields):
    """How a tool that we run is called, as it is read back."""

    headers: tuple[ToolHeaderView, ...] = ()


class ToolFields(Closed):
    """What a tool is, but for how it is run."""

    type: Literal["function"] = "function"
    name: ToolName
    description: Description
    parameters: Parameters = NO_PARAMETERS
    """JSON Schema of the arguments, an object."""
    timeout_seconds: int = Field(default=120, ge=1, le=300)


class Tool(ToolFields):
    """A tool as it is sent; without `http` the client is asked to run it."""

    http: HttpTool | None = None


class ToolView(ToolFields):
    """A tool as it is stored and read back."""

    http: HttpToolView | None = None


AnyTool = TypeVar("AnyTool", bound=ToolFields)


def as_a_whole(tools: tuple[AnyTool, ...]) -> tuple[AnyTool, ...]:
    """Return the tools of an agent; raises ValueError where they cannot be offered together."""
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise ValueError("two tools have the same name")
    if sum(len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools) > MAX_OFFER:
        raise ValueError(f"descriptions and schemas are longer than {MAX_OFFER} characters in all")
    return tools


Tools = Annotated[tuple[Tool, ...], Field(max_length=MAX_TOOLS), AfterValidator(as_a_whole)]
