"""`edgewise doctor`: what is in force, what is missing, and how to mend it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workers.commands.check import Check
from workers.commands.check_names import PREFIX
from workers.commands.checks import run_checks
from workers.settings import Settings

MASK: Final = "**********"
NARROWEST: Final = 100
"""Columns a table is given where the terminal does not say: enough for a line per setting."""


def run_doctor(settings: Settings) -> int:
    """Print settings and checks; return 1 if something that is needed is missing, else 0."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=NARROWEST)
    console.print(_settings_table(settings))
    checks = run_checks(settings)
    console.print(_checks_table(checks))
    missing = [check for check in checks if check.needed and not check.ok]
    console.print("\nsomething is missing" if missing else "\nall that is needed is there")
    return 1 if missing else 0


def source_of(name: str, environment: Mapping[str, str], env_file: Mapping[str, object]) -> str:
    """Return where the value of a setting comes from; the environment wins over the file."""
    variable = f"{PREFIX}{name}".upper()
    for where, names in (("environment", environment), (".env", env_file)):
        if variable in {given.upper() for given in names}:
            return where
    return "default"


def shown(value: object) -> str:
    """Return a setting as it may be seen: secrets and the passwords in URLs are masked."""
    if value is None or value == ():
        return "-"
    if isinstance(value, SecretStr):
        return MASK
    return without_password(value) if isinstance(value, str) else str(value)


def without_password(text: str) -> str:
    """Mask what a URL carries before its host and behind its question mark; keep other text."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.split(':')[0]}:{MASK}@{host}" if at else host
    return urlunsplit(parts._replace(netloc=netloc, query=MASK if parts.query else "", fragment=""))


def _settings_table(settings: Settings) -> Table:
    table = Table(title="Settings in force", title_justify="left")
    for heading in ("Variable", "Value", "From", "What it is"):
        table.add_column(heading, overflow="fold")
    env_file = dotenv_values(".env") if Path(".env").is_file() else {}
    for name, field in Settings.model_fields.items():
        table.add_row(
            f"{PREFIX}{name.upper()}",
            Text(shown(getattr(settings, name))),
            source_of(name, os.environ, env_file),
            Text(field.description or ""),
        )
    return table


def _checks_table(checks: list[Check]) -> Table:
    table = Table(title="Checks", title_justify="left")
    for heading in ("", "Check", "Found", "How to mend it"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(
            _mark(check), check.name, Text(check.found), Text("" if check.ok else check.mend)
        )
    return table


def _mark(check: Check) -> Text:
    """Return the word before a check: what is not needed is noted, and never missing."""
    if check.ok:
        return Text("ok", "green")
    return Text("no", "red") if check.needed else Text("note", "yellow")
