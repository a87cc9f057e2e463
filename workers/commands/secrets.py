"""`edgewise secrets`: the keys under which LLM keys and secrets of webhooks are stored."""
# ruff: noqa: PLC0415  # a command loads what it needs when it runs

import os
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.console import FAILED, database, plain_errors, read_settings, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from workers.secrets.key_ring import KeyRingReader
    from workers.secrets.rotation import KeyUse
    from workers.secrets.secret_box import SecretBox

secrets = typer.Typer(
    help="Make, list and change the keys that stored secrets are under; see docs/keys.md.",
    no_args_is_help=True,
)


@secrets.command()
def init(
    *,
    despite_loss: Annotated[
        bool,
        typer.Option(
            "--despite-loss",
            help="Go on with another key although the current one is lost for good.",
        ),
    ] = False,
) -> None:
    """Make the keys that a new home lacks; `edgewise up` does it at its first start."""
    from workers.secrets.key_files import read_key_file
    from workers.secrets.key_ring import KEYS_VARIABLE, make_key, read_key_ring
    from workers.secrets.lost_pairs import give_up_lost
    from workers.secrets.make_keys import make_missing_keys
    from workers.secrets.rotation import adopt_key
    from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE

    folder = _folder()
    with plain_errors():
        for made in make_missing_keys(folder, os.environ, despite_loss=despite_loss):
            typer.echo(f"made: {made}")
        if despite_loss and not os.environ.get(KEYS_VARIABLE) and not list(folder.glob("*.key")):
            typer.echo(f"made: key {make_key(folder).id}")
        read_key_ring(folder, os.environ)
        if not os.environ.get(BOX_VARIABLE):
            read_key_file(folder / BOX_FILE)
    with database() as engine:
        current = adopt_key(engine, _keys(), despite_loss=despite_loss)
        given_up = give_up_lost(engine, folder, os.environ) if despite_loss else 0
    typer.echo(f"current key: {current}")
    if given_up:
        typer.echo(f"changes that cannot be opened any more, given up: {given_up}")


@secrets.command("list")
def list_all() -> None:
    """List every key: whether it is here, and how many secrets are stored under it."""
    from workers.errors import KeysUnavailableError
    from workers.secrets.box_rotation import list_box_keys
    from workers.secrets.rotation import list_keys
    from workers.secrets.secret_box import BoxKeys

    here, of_webhooks, problems = list[str](), BoxKeys({}), list[str]()
    try:
        here = list(_keys().ring().keys)
    except KeysUnavailableError as error:
        problems.append(str(error))
    try:
        of_webhooks = _box().read_again()
    except KeysUnavailableError as error:
        problems.append(str(error))
    for problem in (*problems, *of_webhooks.unusable):
        typer.echo(f"edgewise: {problem}", err=True)
    with database() as engine:
        uses = [(use, "agents") for use in list_keys(engine, here)]
        uses += [(use, "webhooks") for use in list_box_keys(engine, of_webhooks)]
    rows = [(*_shown(use), owners) for use, owners in uses]
    write_table(("KEY", "STATE", "FILE", "SECRETS", "OF"), rows)
    if any(not use.is_here and (use.values or use.is_current) for use, _ in uses):
        raise typer.Exit(FAILED)


@secrets.command()
def rotate() -> None:
    """Move every stored secret to a new key; may be broken off and run again at any time."""
    from workers.secrets.box_rotation import is_box_half_moved, is_box_in_use, rotate_box
    from workers.secrets.key_ring import KEYS_VARIABLE
    from workers.secrets.rotation import rotate as run
    from workers.secrets.secret_box import BOX_VARIABLE

    folders = [
        None if os.environ.get(each) else _folder() for each in (KEYS_VARIABLE, BOX_VARIABLE)
    ]
    keys, box, of_webhooks = _keys(), _box(), None

    def told(count: int) -> None:
        typer.echo(f"{count} moved", err=True)

    with database() as engine:
        has_box = is_box_in_use(engine, box)
        is_finishing = has_box and is_box_half_moved(engine, box)
        if is_finishing:
            typer.echo("webhooks have secrets under an older key: no new key is made", err=True)
        of_agents = run(engine, keys, folders[0], told, is_finishing=is_finishing)
        if has_box:
            of_webhooks = rotate_box(engine, box, folders[1], told)
    typer.echo(f"current key: {of_agents.key_id}")
    typer.echo(f"moved: {of_agents.moved}")
    lost = of_agents.lost
    if of_webhooks is not None:
        typer.echo(f"current key of webhooks: {of_webhooks.key_id}")
        typer.echo(f"moved of webhooks: {of_webhooks.moved}")
        lost += of_webhooks.lost
    for name in lost:
        typer.echo(f"cannot be opened, set it anew: {name}", err=True)
    if lost:
        raise typer.Exit(FAILED)


@secrets.command("env")
def as_variables() -> None:
    """Print a new set of keys as variables, for hosts and containers that share no home."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from workers.secrets.key_files import KEY_BYTES, encode_key
    from workers.secrets.key_ring import KEYS_VARIABLE
    from workers.secrets.sealing import PUBLIC_VARIABLE
    from workers.secrets.secret_box import BOX_VARIABLE
    from workers.secrets.unsealing import PRIVATE_VARIABLE

    pair = X25519PrivateKey.generate()
    typer.echo(f"{PUBLIC_VARIABLE}={encode_key(pair.public_key().public_bytes_raw())}")
    typer.echo(f"{PRIVATE_VARIABLE}={encode_key(pair.private_bytes_raw())}")
    typer.echo(f"{KEYS_VARIABLE}={encode_key(os.urandom(KEY_BYTES))}")
    typer.echo(f"{BOX_VARIABLE}={encode_key(os.urandom(KEY_BYTES))}")


def _folder() -> "Path":
    from workers.secrets.key_files import keys_folder

    return keys_folder(read_settings().home_path)


def _shown(use: "KeyUse") -> tuple[str, str, str, str]:
    state = "current" if use.is_current else "older" if use.is_known else "not used yet"
    file = "here" if use.is_here else "LOST" if use.values or use.is_current else "gone"
    return use.id, state, file, str(use.values)


def _box() -> "SecretBox":
    from workers.secrets.secret_box import SecretBox

    return SecretBox(_folder(), os.environ)


def _keys() -> "KeyRingReader":
    from functools import partial

    from workers.secrets.key_ring import KeyRingReader, read_key_ring

    return KeyRingReader(partial(read_key_ring, _folder(), os.environ))
