"""The command line of a server, run in this process: to start another one takes a second."""

import subprocess
from collections.abc import Mapping

from typer.testing import CliRunner

from workers.main import app


def run_here(environment: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `edgewise` to its end; raises what would be a traceback."""
    result = CliRunner().invoke(app, words, env=dict(environment))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
