"""Closing the values of tools' headers before anything is written down."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from schemas.tool import HttpTool, HttpToolView, Tool, ToolFields, ToolHeaderView, ToolView
from workers.errors import (
    BlockedAddressError,
    InvalidBaseUrlError,
    InvalidToolError,
    KeysUnavailableError,
)
from workers.gateway.rest_errors import ApiError, unavailable
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.tools.parameters import check_parameters
from workers.secrets.places import header_place
from workers.secrets.sealing import PublicKeyReader, seal

log = structlog.get_logger(__name__)


class ToolSealer:
    """Judges tools, and seals with the public key of this system."""

    def __init__(self, folder: Path, environment: Mapping[str, str], policy: BaseUrlPolicy) -> None:
        self._keys = PublicKeyReader(folder, environment)
        self._policy = policy

    def seal(
        self, account: str, agent_id: str, tools: Sequence[Tool]
    ) -> tuple[tuple[ToolView, ...], tuple[str, ...]]:
        """Return tools as they are stored and read, and the sealed values of all their headers.

        Raises ApiError: 422 for a URL that no name look-up could save or a schema that is none,
        503 where there is no key to seal with.
        """
        views = tuple(self._view(number, tool) for number, tool in enumerate(tools))
        secret = [
            ((view.name, view.http.url), header)
            for tool, view in zip(tools, views, strict=True)
            if tool.http is not None and view.http is not None
            for header in tool.http.headers
        ]
        if not secret:
            return views, ()
        try:
            key = self._keys.read()
        except KeysUnavailableError as error:
            log.error("headers of tools cannot be sealed", reason=str(error))  # noqa: TRY400  # frames of a traceback hold them
            message = "keys cannot be stored at the moment, so nothing was changed"
            raise unavailable(message) from None
        return views, tuple(
            seal(key, header.value, header_place(account, agent_id, number, tool, header.name))
            for number, (tool, header) in enumerate(secret)
        )

    def _view(self, number: int, tool: Tool) -> ToolView:
        try:
            check_parameters(tool.parameters)
        except InvalidToolError as error:
            raise _refused(f"tools.{number}.parameters", error) from None
        fields = {name: getattr(tool, name) for name in ToolFields.model_fields}
        http = None if tool.http is None else self._http(number, tool.http)
        return ToolView(**fields, http=http)

    def _http(self, number: int, http: HttpTool) -> HttpToolView:
        try:
            url = str(self._policy.judge_text(http.url))
        except (InvalidBaseUrlError, BlockedAddressError) as error:
            raise _refused(f"tools.{number}.http.url", error) from None
        return HttpToolView(
            # To a tool's server the slash at the end may make a difference.
            url=f"{url}/" if http.url.endswith("/") else url,
            http_method=http.http_method,
            headers=tuple(ToolHeaderView(name=header.name) for header in http.headers),
        )


def _refused(param: str, error: Exception) -> ApiError:
    return ApiError(422, "validation_error", f"{param}: {error}", param=param)
