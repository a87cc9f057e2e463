"""The options that several commands of `edgewise-device` share."""

from typing import Annotated

import typer

Server = Annotated[
    str | None,
    typer.Option(
        envvar="EDGEWISE_SERVER",
        help="URL of the gateway, such as http://192.168.1.20:8300.",
        show_default="http://127.0.0.1:8300",
    ),
]
Agent = Annotated[
    str | None, typer.Option(envvar="EDGEWISE_AGENT", help="Id of the agent: agent_… .")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="EDGEWISE_API_KEY",
        help="The server's key. The variable is the safer way: other users of this machine can "
        "read a command line.",
    ),
]
IceServers = Annotated[
    list[str] | None,
    typer.Option(
        "--ice-server",
        help="A stun: or turn: URL, for a server beyond a router. May be repeated.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="How sure the detector must be that it hears speech; higher in noise.",
        show_default="0.5",
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        envvar="EDGEWISE_INPUT_DEVICE", help="Microphone: its index, or a part of its name."
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        envvar="EDGEWISE_OUTPUT_DEVICE", help="Speaker: its index, or a part of its name."
    ),
]
Tool = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=COMMAND",
        help="Let the agent run this program as its tool NAME: it gets the arguments as JSON on "
        "its standard input and answers on its standard output. May be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
