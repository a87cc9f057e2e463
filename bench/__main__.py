"""`python -m bench`: every measurement in turn, a table, `bench-results.json`.

Exit code 0 when everything was measured, whether or not it is as fast as it should be; 1 when
a measurement could not be made.
"""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import (
    barge_in,
    batch,
    chat_client,
    config_writes,
    device_cost,
    first_sentence,
    gateway_cpu,
    hang_up,
    llm_gateway,
    loss,
    model_fallback,
    queue_hop,
    queue_wait,
    seal_and_open,
    session_history,
    turn_latency,
    turns_at_once,
    webhooks_in,
    worker_restart,
)
from bench.figure import Figure
from bench.results import print_table, write_json

MEASUREMENTS: dict[str, Callable[..., list[Figure]]] = {
    "turn-latency": turn_latency.run,
    "barge-in": barge_in.run,
    "hang-up": hang_up.run,
    "queue-hop": queue_hop.run,
    "chat-client": chat_client.run,
    "first-sentence": first_sentence.run,
    "model-fallback": model_fallback.run,
    "turns-at-once": turns_at_once.run,
    "worker-restart": worker_restart.run,
    "gateway-cpu": gateway_cpu.run,
    "device": device_cost.run,
    "loss": loss.run,
    "llm-gateway": llm_gateway.run,
    "seal-and-open": seal_and_open.run,
    "config-writes": config_writes.run,
    "batch": batch.run,
    "queue-wait": queue_wait.run,
    "session-history": session_history.run,
    "webhooks-in": webhooks_in.run,
}


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"one of: {', '.join(MEASUREMENTS)}; may be repeated")
    ] = None,
    quick: Annotated[bool, typer.Option(help="fewer turns and shorter windows")] = False,  # noqa: FBT002  # how typer spells a flag
    out: Annotated[Path, typer.Option(help="where the JSON goes")] = Path("bench-results.json"),
) -> None:
    """Measure how fast the system is on this machine, in about six minutes."""
    unknown = set(only or ()) - set(MEASUREMENTS)
    if unknown:
        raise typer.BadParameter(f"no such measurement: {', '.join(sorted(unknown))}")
    console = Console(stderr=False)
    began = time.monotonic()
    figures, failed = _measure(only or list(MEASUREMENTS), console, quick=quick)
    print_table(figures, console, took_s=time.monotonic() - began)
    write_json(figures, out)
    if failed:
        console.print(f"[red]not measured: {', '.join(failed)}[/]")
        raise typer.Exit(1)


def _measure(names: list[str], console: Console, *, quick: bool) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    failed = []
    for name in names:
        began = time.monotonic()
        console.print(f"{name} …", end=" ")
        try:
            figures += MEASUREMENTS[name](quick=quick)
        except Exception:  # noqa: BLE001  # whatever went wrong, the others are still measured
            failed.append(name)
            console.print("[red]could not be measured[/]")
            console.print(traceback.format_exc(), markup=False, highlight=False)
        else:
            console.print(f"{time.monotonic() - began:.0f} s")
    return figures, failed


if __name__ == "__main__":
    typer.run(main)
