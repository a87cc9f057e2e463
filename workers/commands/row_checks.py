"""What would become of a row that has the right shape, as far as that can be told from outside.

The gateway and the workers decide on it once it is sent: by what the operator allows, and by the
addresses that names have then. Neither is known here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from schemas.agent import NO_STORED_KEY
from schemas.batch import RowEntry, UpsertRow
from schemas.error import ErrorItem
from schemas.tool import Tool
from workers.errors import BlockedAddressError, InvalidBaseUrlError, InvalidToolError
from workers.providers.base_url import parse_base_url
from workers.providers.base_url_allow import Allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.tools.parameters import check_parameters

_MODELS: Final = Allow(setting="EDGEWISE_LLM_ALLOW")
_TOOLS: Final = Allow(setting="EDGEWISE_TOOLS_ALLOW")
_PROVISO: Final = (
    "not https on port 443 of a public host, so it fails unless {} of the gateway allows it"
)


def refusal_of(row: UpsertRow, held: Mapping[str, Any] | None) -> ErrorItem | None:
    """Return why a row would fail beside the record of its agent, None where nothing is seen."""
    if row.id is not None and held is None:
        return ErrorItem(message="there is no such agent", param="id")
    return next(chain(_entries(row.llm or (), held), _tools(row.tools or ())), None)


def provisos(row: UpsertRow, held: Mapping[str, Any] | None) -> list[str]:
    """Return which new URLs of a row are taken only where the operator allows them."""
    record = held or {}
    known = _stored_urls(held)
    called = {tool["http"]["url"] for tool in record.get("tools", ()) if tool["http"]}
    named = [
        (f"llm.{number}.base_url", entry.base_url, _MODELS)
        for number, entry in enumerate(row.llm or ())
        if normal_url(entry.base_url) not in known
    ]
    named += [
        (f"tools.{number}.http.url", tool.http.url, _TOOLS)
        for number, tool in enumerate(row.tools or ())
        if tool.http is not None and tool.http.url not in called
    ]
    return [
        f"{place}: {_PROVISO.format(nothing.setting)}"
        for place, url, nothing in named
        if _refused(url, nothing) is not None
    ]


def normal_url(base_url: str) -> str:
    """Return a `base_url` as it is stored, one that would be refused as it is."""
    try:
        return str(parse_base_url(base_url))
    except InvalidBaseUrlError:
        return base_url


def _entries(entries: Sequence[RowEntry], held: Mapping[str, Any] | None) -> Iterator[ErrorItem]:
    known = _stored_urls(held)
    for number, entry in enumerate(entries):
        reason = _never(entry.base_url, _MODELS)
        if reason is not None:
            yield ErrorItem(message=reason, param=f"llm.{number}.base_url")
        elif entry.api_key is None and normal_url(entry.base_url) not in known:
            yield ErrorItem(message=NO_STORED_KEY, param=f"llm.{number}.api_key")


def _tools(tools: Sequence[Tool]) -> Iterator[ErrorItem]:
    for number, tool in enumerate(tools):
        try:
            check_parameters(tool.parameters)
        except InvalidToolError as error:
            yield ErrorItem(message=str(error), param=f"tools.{number}.parameters")
        reason = None if tool.http is None else _never(tool.http.url, _TOOLS)
        if reason is not None:
            yield ErrorItem(message=reason, param=f"tools.{number}.http.url")


def _stored_urls(held: Mapping[str, Any] | None) -> set[str]:
    return {str(entry["base_url"]) for entry in (held or {}).get("llm", ())}


def _never(url: str, nothing: Allow) -> str | None:
    """Return why a URL is refused whatever the operator allows."""
    try:
        host = parse_base_url(url).host
    except InvalidBaseUrlError as error:
        return str(error)
    return _refused(url, replace(nothing, hosts=frozenset({(host, None)})))


def _refused(url: str, allow: Allow) -> str | None:
    try:
        BaseUrlPolicy(allow).judge_text(url)
    except (InvalidBaseUrlError, BlockedAddressError) as error:
        return str(error)
    return None
