"""The command line of a server: `edgewise`.

What a command needs is imported when it runs: each process loads its own libraries and no
other's, and starts the sooner.
"""
# ruff: noqa: PLC0415  # see above

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from workers.commands.accounts import accounts
from workers.commands.apply import apply
from workers.commands.console import plain_errors, read_settings
from workers.commands.db import db
from workers.commands.events import events
from workers.commands.export import export
from workers.commands.keys import keys
from workers.commands.llm_stub import HELP as LLM_STUB
from workers.commands.llm_stub import llm_stub
from workers.commands.secrets import secrets
from workers.commands.webhooks import webhooks
from workers.settings import Settings

Part = Literal["gateway", "llm-gateway", "turns", "config"]
app = typer.Typer(
    help="Voice agents that run on your own model. Settings are EDGEWISE_* variables or lines "
    "in .env; `edgewise doctor` lists them.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
worker = typer.Typer(help="Run one of the workers.", no_args_is_help=True)
app.add_typer(worker, name="worker")
app.add_typer(accounts, name="accounts")
app.add_typer(keys, name="keys")
app.add_typer(db, name="db")
app.add_typer(events, name="events")
app.add_typer(secrets, name="secrets")
app.add_typer(webhooks, name="webhooks")
app.command()(apply)
app.command()(export)
app.command("llm-stub", help=LLM_STUB)(llm_stub)


@contextlib.contextmanager
def _process(name: str) -> Iterator[Settings]:
    """Set up a process that logs under this name.

    Where no API key is set, the one that `edgewise up` made in the home counts.
    """
    from workers.logs import set_up_logs
    from workers.supervision.home import Home

    settings = read_settings()
    key_file = Home(settings.home_path).key_file
    if settings.api_key is None and key_file.is_file():
        settings = Settings(api_key=key_file.read_text().strip())
    set_up_logs(settings, name)
    with plain_errors():
        yield settings


def _show_version(asked: bool) -> None:  # noqa: FBT001  # Typer hands options over by position
    if asked:
        typer.echo(importlib.metadata.version("edgewise"))
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take options that belong to every command."""


@app.command()
def up(
    *,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Once ready, print one line: url, api_key, pid, home."),
    ] = False,
) -> None:
    """Run the whole system on this machine, in the foreground.

    Ctrl-C or SIGTERM stops it.
    """
    from workers.supervision.run_up import run_up

    with plain_errors():
        run_up(read_settings(), as_json=as_json)


@app.command()
def gateway() -> None:
    """Run the gateway: REST and WebRTC sessions."""
    with _process("gateway") as settings:
        from workers.gateway.serve import serve

        serve(settings)


@app.command("llm-gateway")
def llm_gateway() -> None:
    """Run the LLM gateway with its built-in offline responder."""
    with _process("llm-gateway") as settings:
        from workers.llm_gateway.serve import serve

        serve(settings)


@worker.command("turns")
def turns() -> None:
    """Run a turn worker: what was said becomes a spoken reply."""
    with _process("turns") as settings:
        from workers.turns.worker import run_worker

        run_worker(settings)


@worker.command("config")
def config() -> None:
    """Run a config worker: config events become stored agents."""
    with _process("config") as settings:
        from workers.agent_config.worker import run_worker

        run_worker(settings)


@app.command()
def health(
    part: Annotated[Part, typer.Argument(help="Which part of this machine or container.")],
) -> None:
    """Exit with 0 if the part serves, else say why not; what a container's health check calls."""
    from workers.commands.health import check_server, check_worker

    with plain_errors():
        if part == "turns" or part == "config":  # noqa: PLR1714  # mypy narrows this form alone
            check_worker(read_settings(), part)
        else:
            check_server(read_settings(), part)


@app.command()
def doctor() -> None:
    """Say what is in force, what is missing and how to mend it; exits with 1 if something is."""
    from workers.commands.doctor import run_doctor

    raise typer.Exit(run_doctor(read_settings()))


@app.command()
def demo(
    wav: Annotated[
        Path | None,
        typer.Option(help="Ask your own recording; unset, a voice speaks the question."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the reply is written.")] = Path("demo-reply.wav"),
) -> None:
    """Start a private system, ask it a question by voice, show what happens, stop it again."""
    from workers.commands.demo import run_demo

    with plain_errors():
        raise typer.Exit(run_demo(wav, out))


if __name__ == "__main__":
    sys.exit(app())
