"""A batch that a gateway has accepted: how it is followed to its end, and named when it cannot be.

It is applied whether anyone waits or not, so a gateway that is away for a while is waited for.
"""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import typer

from schemas.batch import RowError
from workers.commands.gateway_client import GatewayRefusedError, answer_of

POLL_S: Final = 0.3
STALLED_S: Final = 120.0
"""How long nothing may be heard or applied before the wait is given up, in seconds."""
_AWAY: Final = frozenset({502, 503, 504})
"""What a gateway answers, or a proxy before it, while a part is away."""


def outcome_of(client: httpx.Client, batch_id: str) -> tuple[dict[str, Any], list[RowError]]:
    """Show how far a batch is until it is done; return it with the rows that failed.

    Raises GatewayRefusedError, which names the batch, where it stalls or cannot be read.
    """
    path = f"/v1/batches/{batch_id}"
    with _named(f"{str(client.base_url).rstrip('/')}{path}"):
        batch = _wait(client, path)
        return batch, _errors(client, path) if batch["failed"] else []


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """Let whatever ends the wait say that the batch was accepted, and where it can be read."""
    where = (
        "the batch was accepted and is applied all the same: "
        f"GET {url} says how far it is, GET {url}/errors which rows failed"
    )
    try:
        yield
    except GatewayRefusedError as error:
        raise GatewayRefusedError(f"{error}; {where}") from None
    except httpx.HTTPError as error:
        raise GatewayRefusedError(f"no answer ({type(error).__name__}); {where}") from None
    except (ValueError, KeyError, TypeError):
        raise GatewayRefusedError(f"the answer is none of a gateway of Edgewise; {where}") from None
    except KeyboardInterrupt:
        typer.echo(where, err=True)
        raise


def _wait(client: httpx.Client, path: str) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("applying", total=None)
        done, moved_at = -1, time.monotonic()
        while True:
            answer = _steady(client, path, moved_at)
            batch: dict[str, Any] = answer_of(answer)
            progress.update(task, total=batch["total"], completed=batch["done"])
            if batch["status"] == "done":
                return batch
            if batch["done"] > done:
                done, moved_at = batch["done"], time.monotonic()
            if time.monotonic() - moved_at > STALLED_S:
                raise GatewayRefusedError(
                    f"nothing was applied for {STALLED_S:.0f} s; a config worker has to run"
                )
            time.sleep(POLL_S)


def _errors(client: httpx.Client, path: str) -> list[RowError]:
    answer = _steady(client, f"{path}/errors", time.monotonic())
    if not answer.is_success:
        answer_of(answer)
    return [RowError.model_validate_json(line) for line in answer.text.split("\n") if line]


def _steady(client: httpx.Client, path: str, since: float) -> httpx.Response:
    """Return the answer of a gateway; one that is away is asked again until it is too long."""
    while True:
        try:
            answer = client.get(path)
        except httpx.TransportError:
            if time.monotonic() - since > STALLED_S:
                raise
        else:
            if answer.status_code not in _AWAY or time.monotonic() - since > STALLED_S:
                return answer
        time.sleep(POLL_S)
