"""Whether an OpenAI-compatible endpoint that the operator named is there and takes the key."""

from http import HTTPStatus
from typing import Final

import httpx
from pydantic import SecretStr

from workers.commands.check import Check
from workers.errors import ConfigurationError, InvalidBaseUrlError
from workers.providers.base_url import parse_base_url
from workers.providers.trust import trusted_authorities
from workers.settings import Settings

ANSWER_S: Final = 3.0


def check_endpoint(
    name: str, variables: str, base_url: str | None, key: SecretStr | None, settings: Settings
) -> Check:
    """Ask for the list of models; a server without one is reached all the same."""
    if base_url is None:
        return Check(name, ok=False, found="no endpoint", mend=f"set {variables}_BASE_URL")
    try:
        parse_base_url(base_url)
    except InvalidBaseUrlError as error:
        return Check(name, ok=False, found=str(error), mend=f"mend {variables}_BASE_URL")
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        with (
            httpx.Client(
                trust_env=False, timeout=ANSWER_S, verify=trusted_authorities(settings)
            ) as client,
            client.stream("GET", f"{base_url.rstrip('/')}/models", headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, ConfigurationError) as error:
        mend = f"start the server, or mend {variables}_BASE_URL"
        return Check(name, ok=False, found=type(error).__name__, mend=mend)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        mend = f"mend {variables}_API_KEY"
        return Check(name, ok=False, found=f"status {status}: the key is refused", mend=mend)
    ok = status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Check(name, ok, f"an endpoint answers, status {status}", "look at that server's log")
