"""The command `edgewise-device`."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.doctor import examine
from edge.errors import BadInputError, DeviceError
from edge.options import (
    Agent,
    ApiKey,
    AsJson,
    IceServers,
    Input,
    Output,
    Server,
    Threshold,
    Tool,
)
from edge.recorder import Recorder
from edge.run import run as run_device
from edge.settings import DeviceSettings, read_settings
from edge.sound import devices as list_devices
from edge.talk import Plan
from edge.talk import talk as hold_talk
from edge.view import LiveView, NoView
from edge.wav_sink import WavSink
from edge.wav_source import read_speech

Result = TypeVar("Result")

NO_ANSWER: Final = 1
INTERRUPTED: Final = 130

app = typer.Typer(
    name="edgewise-device",
    help="A voice device: it hears you, sends what you say to an agent, and speaks the answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    *,
    server: Server = None,
    agent: Agent = None,
    api_key: ApiKey = None,
    input_device: Input = None,
    output_device: Output = None,
    ice_servers: IceServers = None,
    vad_threshold: Threshold = None,
    tool: Tool = None,
    barge_in: Annotated[
        bool | None,
        typer.Option(
            help="Listen while a reply plays, so that you can interrupt it. Turn it off where "
            "the microphone hears the speaker and there is no echo cancellation.",
            show_default="barge-in",
        ),
    ] = None,
) -> None:
    """Talk by microphone and speaker until Ctrl-C; connects again by itself."""
    try:
        settings = read_settings(
            server=server,
            agent=agent,
            api_key=api_key,
            input_device=input_device,
            output_device=output_device,
            ice_servers=ice_servers,
            vad_threshold=vad_threshold,
            tools=tool,
            barge_in=barge_in,
        )
        _until_stopped(run_device(settings, LiveView(Console())))
    except DeviceError as error:
        _fail(error)


@app.command()
def talk(
    *,
    wav: Annotated[
        list[Path],
        typer.Option(help="A recording to say; repeat it for several turns of one session."),
    ],
    server: Server = None,
    agent: Agent = None,
    api_key: ApiKey = None,
    out: Annotated[
        Path | None, typer.Option(help="Write what is heard of the replies to this WAV file.")
    ] = None,
    as_json: AsJson = False,
    barge_in_after: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MS",
            help="Begin each further recording this long after the first sound of the reply "
            "before it, to interrupt that reply.",
        ),
    ] = None,
    ice_servers: IceServers = None,
    vad_threshold: Threshold = None,
    tool: Tool = None,
    no_answer: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            max=600.0,
            metavar="S",
            help="Give a turn up after this long without any sign of an answer.",
            show_default="20",
        ),
    ] = None,
) -> None:
    """Say recordings to an agent, in real time, and write down what it answers.

    With --json one object per turn goes to standard output. Exit code: 0 when every turn got
    its answer, 1 when one did not, 2 for bad input, 3 when there is no session to be had.
    """
    console = Console(quiet=as_json)
    try:
        settings = read_settings(
            server=server,
            agent=agent,
            api_key=api_key,
            ice_servers=ice_servers,
            vad_threshold=vad_threshold,
            tools=tool,
            no_answer_s=no_answer,
        )
        plan = Plan([read_speech(path) for path in wav], barge_in_after)
        with ExitStack() as stack:
            sink = stack.enter_context(WavSink(out)) if out is not None else None
            answered = _until_stopped(
                hold_talk(
                    settings,
                    plan,
                    recorder=Recorder(sink),
                    view=NoView() if as_json else LiveView(console),
                    on_report=_print_json if as_json else _ignore,
                )
            )
    except DeviceError as error:
        _fail(error)
    if out is not None:
        console.print(f"[dim]· the reply is in {escape(str(out))}[/dim]", highlight=False)
    if answered is None:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if answered else NO_ANSWER)


@app.command()
def devices(*, as_json: AsJson = False) -> None:
    """List microphones and speakers."""
    try:
        found = list_devices()
    except DeviceError as error:
        _fail(error)
    if as_json:
        _print_json([asdict(device) for device in found])
        return
    if not found:
        _fail(BadInputError("no microphone and no speaker; plug one in and look again."))
    table = Table("index", "name", "in", "out", "rate", "default")
    for device in found:
        default = [
            name
            for name, is_so in (
                ("input", device.is_default_input),
                ("output", device.is_default_output),
            )
            if is_so
        ]
        table.add_row(
            str(device.index),
            escape(device.name),
            str(device.inputs or ""),
            str(device.outputs or ""),
            f"{device.default_rate:.0f} Hz",
            ", ".join(default),
        )
    Console().print(table)


@app.command()
def doctor(
    *,
    server: Server = None,
    agent: Agent = None,
    api_key: ApiKey = None,
    input_device: Input = None,
    output_device: Output = None,
    as_json: AsJson = False,
) -> None:
    """Check codec, microphone, speaker, server, key and agent, and say how to mend what fails."""
    settings: DeviceSettings | DeviceError
    try:
        settings = read_settings(
            server=server,
            agent=agent,
            api_key=api_key,
            input_device=input_device,
            output_device=output_device,
        )
    except DeviceError as error:
        settings = error
    findings = examine(settings)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        colours = {"ok": "green", "warning": "yellow", "failed": "red"}
        for finding in findings:
            colour = colours[finding.state]
            Console().print(
                f"[{colour}]{finding.state:>8}[/] {finding.what}: {escape(finding.detail)}",
                highlight=False,
            )
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(NO_ANSWER)


def _until_stopped(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Run to the end; None when Ctrl-C or SIGTERM stopped it, after everything was closed."""

    async def stoppable() -> Result | None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, name="the command")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    return asyncio.run(stoppable())


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _ignore(_report: dict[str, Any]) -> None:
    """Take a report that nobody reads."""


def _fail(error: DeviceError) -> NoReturn:
    Console(stderr=True).print(
        f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
    )
    raise typer.Exit(error.exit_code)
