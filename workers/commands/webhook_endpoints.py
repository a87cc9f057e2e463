"""`edgewise webhooks endpoints | change | rotate`: where an account is told, over REST."""

from typing import Annotated, Any, Final

import typer

from schemas.webhook import MESSAGE_TYPES
from workers.commands.console import write_table
from workers.commands.gateway_client import DEFAULT_URL, Key, Url, answer_of, gateway

_PATH: Final = "/v1/webhook-endpoints"
_HEAD: Final = ("ENDPOINT", "STATUS", "SECRETS", "EVENTS", "URL")
EndpointId = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Its id, as `edgewise webhooks endpoints` shows.")
]


def _events(given: list[str] | None) -> list[str] | None:
    if set(given or ()) - set(MESSAGE_TYPES):
        raise typer.BadParameter("one of " + ", ".join(MESSAGE_TYPES))
    return given


def endpoints(*, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """List the endpoints of the account of the key, oldest first."""
    with gateway(url, key) as client:
        found = answer_of(client.get(_PATH))["webhook_endpoints"]
    write_table(_HEAD, [_row(each) for each in found])


def change(
    endpoint_id: EndpointId,
    *,
    to: Annotated[str | None, typer.Option(help="The URL to send to from now on.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(callback=_events, help="What to send; repeat it for several."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Change where an endpoint is or what it hears; a disabled one is sent to again.

    Its secret stays. What waits to be sent goes to a new URL at once.
    """
    asked = {name: value for name, value in (("url", to), ("events", event)) if value}
    with gateway(url, key) as client:
        changed = answer_of(client.put(f"{_PATH}/{endpoint_id}", json=asked))
    write_table(_HEAD, [_row(changed)])


def rotate(
    endpoint_id: EndpointId,
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=168, help="How long the old secret signs, too.")
    ] = 24,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Give an endpoint a new secret and write it on standard output, this once."""
    with gateway(url, key) as client:
        asked = {"overlap_hours": overlap_hours}
        made = answer_of(client.post(f"{_PATH}/{endpoint_id}/secret", json=asked))
    ends = [each["expires_at"] for each in made["secrets"] if each["expires_at"]]
    note = f"; those from before sign, too, until {max(ends)}" if ends else ""
    typer.echo(f"{made['id']}: keep it now, it is not shown again{note}", err=True)
    typer.echo(made["secret"])


def _row(endpoint: dict[str, Any]) -> tuple[str, ...]:
    disabled = endpoint["disabled_at"]
    return (
        endpoint["id"],
        f"disabled {disabled}" if disabled else "active",
        str(len(endpoint["secrets"])),
        "all" if len(endpoint["events"]) == len(MESSAGE_TYPES) else ",".join(endpoint["events"]),
        endpoint["url"],
    )
