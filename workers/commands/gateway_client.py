"""How commands talk to a gateway: over REST, as any other client."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, Final

import httpx
import typer

from workers.commands.console import plain_errors, read_settings
from workers.errors import EdgewiseError

ANSWER_S: Final = 30.0


def _of_home(context: typer.Context, given: str) -> str:
    """Return the URL that was given, else the one of the gateway that runs in this home."""
    from workers.supervision.addresses import address_of  # noqa: PLC0415  # see `_home_key`

    source = context.get_parameter_source("url")
    if source is None or source.name != "DEFAULT":
        return given
    return address_of(read_settings(), "gateway") or given


Url = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="EDGEWISE_SERVER",
        callback=_of_home,
        help="Where the gateway is; unset, the one that runs in the home of this machine.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="EDGEWISE_API_KEY",
        show_envvar=True,
        help="An API key with the scope `configure`; unset, the one in the home of this machine.",
    ),
]
DEFAULT_URL: Final = "http://127.0.0.1:8300"


class GatewayRefusedError(EdgewiseError):
    """The gateway did not do what it was asked to; the message says why."""


@contextlib.contextmanager
def gateway(url: str, key: str | None) -> Iterator[httpx.Client]:
    """Open a client of a gateway; what goes wrong comes out in plain words, with exit code 1."""
    headers = {"Authorization": f"Bearer {key or _home_key()}"}
    with plain_errors():
        try:
            with httpx.Client(
                base_url=url, headers=headers, timeout=ANSWER_S, trust_env=False
            ) as client:
                yield client
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise GatewayRefusedError(f"{url} is not a usable address: {error}") from None
        except httpx.HTTPError as error:
            raise GatewayRefusedError(
                f"no answer from {url} ({type(error).__name__}: {error}); is the server running"
                " (`edgewise up`), and is --server right?"
            ) from None


def answer_of(answer: httpx.Response) -> Any:
    """Return the JSON of a 2xx; raises GatewayRefusedError with the message of another answer."""
    if answer.is_success:
        return answer.json()
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = "is that a gateway of Edgewise?"
    raise GatewayRefusedError(f"{answer.status_code}: {message}")


def _home_key() -> str:
    from workers.supervision.home import Home  # noqa: PLC0415  # a command loads what it needs

    settings = read_settings()
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    file = Home(settings.home_path).key_file
    if not file.is_file():
        typer.echo("edgewise: no API key: set EDGEWISE_API_KEY", err=True)
        raise typer.Exit(1)
    return file.read_text().strip()
