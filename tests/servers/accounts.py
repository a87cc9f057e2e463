"""Accounts and keys made as an operator makes them: on the command line."""

import re
import subprocess
from dataclasses import dataclass, field

from tests.servers.parts import environment
from tests.servers.system import command
from workers.settings import Settings


@dataclass(frozen=True)
class MadeKey:
    """A key as it was shown, once."""

    id: str
    text: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def edgewise(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `edgewise` to its end on the database of these settings."""
    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return subprocess.run(
        [command("edgewise"), *words],
        cwd=home,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make_account(settings: Settings, name: str) -> None:
    done = edgewise(settings, "accounts", "create", name)
    assert done.returncode == 0, done.stderr


def make_key(settings: Settings, *scopes: str, account: str = "default") -> MadeKey:
    asked = [word for scope in scopes for word in ("--scope", scope)]
    done = edgewise(settings, "keys", "create", "--account", account, *asked)
    assert done.returncode == 0, done.stderr
    found = re.search("key_[0-9a-f]{32}", done.stderr)
    assert found is not None
    return MadeKey(found[0], done.stdout.strip())


def revoke(settings: Settings, key: MadeKey) -> None:
    done = edgewise(settings, "keys", "revoke", key.id)
    assert done.returncode == 0, done.stderr
