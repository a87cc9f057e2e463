"""Accounts and keys, and the command line of an operator."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine

from schemas.account import Scope
from schemas.error import ErrorBody
from tests.servers.cli import run_here
from tests.servers.parts import environment
from workers.settings import Settings
from workers.storage.accounts import keys as stored
from workers.storage.database import open_engine
from workers.storage.upgrade import upgrade_engine


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
    return run_here(environment(settings), *words)


def make_account(settings: Settings, name: str) -> None:
    with _database(settings) as engine:
        stored.make_account(engine, name)


def make_key(settings: Settings, *scopes: Scope, account: str = "default") -> MadeKey:
    with _database(settings) as engine:
        key, text = stored.make_key(engine, account, "of a test", scopes)
    return MadeKey(key.id, text)


def revoke(settings: Settings, key: MadeKey) -> None:
    with _database(settings) as engine:
        stored.revoke(engine, key.id)


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    try:
        upgrade_engine(engine)
        yield engine
    finally:
        engine.dispose()


OTHER_ACCOUNT = "globex"
AGENT = {"name": "a", "system_prompt": "b", "voice": {"voice_id": "ivy"}}
OFFER = (Path(__file__).parents[1] / "data" / "sdp" / "chromium.sdp").read_bytes()
SDP = {"Content-Type": "application/sdp"}


@dataclass(frozen=True)
class Keys:
    admin: MadeKey
    configure: MadeKey
    talk: MadeKey
    llm: MadeKey
    other: MadeKey
    """An admin key of another account."""


def opened(client: httpx.Client, agent_id: str, key: MadeKey | str) -> httpx.Response:
    text = key if isinstance(key, str) else key.text
    headers = {**SDP, "Authorization": f"Bearer {text}"}
    return client.post(f"/v1/agents/{agent_id}/sessions", content=OFFER, headers=headers)


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    body = ErrorBody.model_validate_json(answer.content)
    assert (answer.status_code, body.code) == (status, code), answer.text
