"""What `edgewise up` says once it serves: where things are, and the line to paste."""

import shlex
import socket
import sys
from pathlib import Path
from typing import Final

import httpx

from workers.supervision.up import System

WILDCARDS: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104  # compared, not bound
ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that are nobody's (RFC 5737, RFC 3849): the way to them is the way out."""


def welcome(system: System, agent: str | None, host: str) -> str:
    """Return what is printed for people; `host` is the address that the gateway listens on."""
    lines = ["", f"Edgewise listens on  {system.url}"]
    outside = url_from_outside(system.url, host)
    if outside:
        lines.append(f"Other machines use   {outside}")
    lines += [
        f"LLM gateway          {system.llm_gateway_url}/v1",
        f"API key              {system.key_file or 'from EDGEWISE_API_KEY'}",
        f"Everything it writes {system.home}",
        "",
        *_how_to_talk(system, agent),
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _how_to_talk(system: System, agent: str | None) -> list[str]:
    command = f"{device_command()} run --server {system.url} --agent {agent or 'agent_…'}"
    where = "Talk to it from another terminal"
    if system.key_file is None:
        where += " that has the same EDGEWISE_API_KEY"
    else:
        command = f'EDGEWISE_API_KEY="$(cat {shlex.quote(str(system.key_file))})" {command}'
    lines = [f"{where} (the microphone needs PortAudio):", f"  {command}"]
    if agent is None:
        lines.append("No agent could be read or made: put the id of one in its place.")
    return lines


def device_command() -> str:
    """Return how a shell calls `edgewise-device` of this installation, from any folder."""
    script = Path(sys.executable).absolute().with_name("edgewise-device")
    if script.is_file():
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -m edge"


def url_from_outside(url: str, host: str) -> str | None:
    """Return the URL for other machines where the gateway listens on every address, else None.

    It has this machine's address on its way out, or its name where there is none.
    """
    family = WILDCARDS.get(host)
    if family is None:
        return None
    with socket.socket(family, socket.SOCK_DGRAM) as way_out:
        try:
            way_out.connect((ELSEWHERE[family], 9))  # of UDP: looks up the route, sends nothing
            address = way_out.getsockname()[0]
        except OSError:
            address = socket.gethostname()
    return str(httpx.URL(url).copy_with(host=address))
