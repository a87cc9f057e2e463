"""The sealed values of a message: where each belongs, and whether it opens there to what it is."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pydantic import SecretStr, TypeAdapter, ValidationError

from schemas.agent import ApiKey
from schemas.config_event import AgentChange, AgentDelete, AgentRotate, AgentUpsert, Change
from schemas.config_message import ChangeMessage, ConfigMessage, RotateMessage, UpsertMessage
from schemas.tool import ToolHeader
from workers.agent_config.refusal import ChangeRefusedError
from workers.agent_config.secret_values import places_of
from workers.agent_config.vault import Vault
from workers.errors import (
    CredentialsUnavailableError,
    InvalidBaseUrlError,
    KeysUnavailableError,
    SealedForAnotherKeyError,
)
from workers.providers.base_url import parse_base_url

_KEY: Final = TypeAdapter[SecretStr](ApiKey)


class SealedValue(NamedTuple):
    """A sealed value of a message."""

    field: str
    """Where it stands in the message."""
    text: str
    header: str | None = None
    """The name of the header whose value it is; None: a model's key."""


def sealed_values(message: ConfigMessage) -> list[SealedValue]:
    """Return the sealed values of a message: the keys of models, then of headers, in order."""
    if isinstance(message, RotateMessage):
        return [SealedValue("sealed_api_key", message.sealed_api_key)]
    if not isinstance(message, UpsertMessage | ChangeMessage):
        return []
    keys = [
        SealedValue(f"llm.{number}.sealed_api_key", entry.sealed_api_key)
        for number, entry in enumerate(message.llm or ())
    ]
    return keys + [
        SealedValue(f"tools.{n}.http.headers.{m}.sealed_value", header.sealed_value, header.name)
        for n, tool in enumerate(message.tools or ())
        if tool.http is not None
        for m, header in enumerate(tool.http.headers)
    ]


def check_secrets(vault: Vault, change: Change, sealed: Sequence[SealedValue]) -> None:
    """Raise ChangeRefusedError unless each opens in its place and is a key or fits a header."""
    if isinstance(change, AgentDelete):
        return
    for field, url, may_end_in_slash in _urls(change):
        if not _is_normal(url, may_end_in_slash=may_end_in_slash):
            raise ChangeRefusedError(f"{field}: not in its normal form")
    for value, place in zip(sealed, places_of(change), strict=True):
        try:
            _check(value, vault.open(value.text, place))
        except SealedForAnotherKeyError:
            continue  # the change waits for the private key
        except CredentialsUnavailableError as error:
            raise ChangeRefusedError(f"{value.field}: {error}") from None
        except KeysUnavailableError:
            return  # no fault of the message: what comes of it says so


def _check(value: SealedValue, secret: SecretStr) -> None:
    try:
        if value.header is None:
            _KEY.validate_python(secret)
        else:
            ToolHeader(name=value.header, value=secret)
    except ValidationError:  # its message holds the value
        raise ChangeRefusedError(f"not valid: {value.field}") from None


def _urls(change: AgentUpsert | AgentChange | AgentRotate) -> Iterator[tuple[str, str, bool]]:
    """Yield the URLs of a change, each with its field, and whether it may end in a slash."""
    if isinstance(change, AgentRotate):
        if change.base_url is not None:
            yield "base_url", change.base_url, False
        return
    for number, entry in enumerate(change.llm or ()):
        yield f"llm.{number}.base_url", entry.base_url, False
    for number, tool in enumerate(change.tools or ()):
        if tool.http is not None:
            yield f"tools.{number}.http.url", tool.http.url, True


def _is_normal(url: str, *, may_end_in_slash: bool) -> bool:
    """Tell whether a URL is in its normal form; one that is none is refused when it is applied."""
    try:
        normal = str(parse_base_url(url))
    except InvalidBaseUrlError:
        return True
    return url == normal or (may_end_in_slash and url == f"{normal}/")
