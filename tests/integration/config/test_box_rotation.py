"""`edgewise secrets`: the keys of webhooks' secrets, changed, lost, broken off half-way."""

import signal
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tests.integration.config.keys import environment_with
from tests.integration.config.stored_secrets import counts, fill
from tests.integration.config.test_rotation import OTHERS_KEYS, run
from tests.integration.config.webhook_secrets import (
    box_of,
    fill_secrets,
    formers,
    opened,
    shown,
    stored_secrets,
    under,
)
from tests.servers.cli import run_here
from tests.servers.system import command
from workers.agent_config.vault import Vault
from workers.secrets.box_rotation import _replace_key
from workers.secrets.key_files import decode_key, write_key_file
from workers.secrets.key_ring import KEYS_VARIABLE, key_files
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE, SecretBox, box_key_id
from workers.settings import Settings
from workers.storage.database import writing

SECRETS = 800


def test_a_rotation_that_is_killed_goes_on_and_leaves_nothing_on_the_old_key(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    fill(engine, vault, 1)
    fill_secrets(engine, box_of(stored), SECRETS)
    before = opened(engine, box_of(stored))
    (old,) = under(engine)
    process = subprocess.Popen(
        [command("edgewise"), "secrets", "rotate"],
        env=environment_with(stored),
        cwd=stored.home_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for count in (1, 2, 200):  # the model key, the header, a batch of secrets
        assert process.stderr.readline() == f"{count} moved\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stderr.close()
    half, of_agents = under(engine), counts(engine)
    assert len(half) == 2, "it was killed too late to show anything"
    assert opened(engine, box_of(stored)) == before

    done = run(stored, "rotate")

    assert done.returncode == 0, done.stderr
    assert "no new key is made" in done.stderr
    (new,) = half.keys() - {old}
    assert under(engine) == {new: SECRETS}, "the second run went on and made no third key"
    assert counts(engine) == of_agents, "nor did it for agents"
    (former,) = formers(keys)
    former.unlink()
    assert opened(engine, box_of(stored)) == before
    assert run(stored, "rotate").returncode == 0
    assert new not in under(engine)
    assert not of_agents.keys() & counts(engine).keys()


@pytest.mark.parametrize("step", ["both keys are kept", "the new key is current"])
def test_a_rotation_that_is_killed_between_its_steps_goes_on(
    engine: Engine, stored: Settings, keys: Path, step: str
) -> None:
    fill_secrets(engine, box_of(stored), 3)
    before = opened(engine, box_of(stored))
    (old,) = under(engine)
    held = (keys / BOX_FILE).read_bytes()
    _replace_key(keys)
    new = box_of(stored).read_again().newest
    if step == "both keys are kept":
        (keys / BOX_FILE).write_bytes(held)
    assert opened(engine, box_of(stored)) == before
    assert run(stored, "rotate").returncode == 0
    (current,) = under(engine)
    assert current != old
    assert (current == new) == (step == "the new key is current")
    for former in formers(keys):
        former.unlink()
    assert opened(engine, box_of(stored)) == before


def test_a_backup_of_the_keys_from_before_a_rotation_may_be_put_back(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    fill_secrets(engine, box_of(stored), 2)
    before = opened(engine, box_of(stored))
    backup = (keys / BOX_FILE).read_bytes()
    assert run(stored, "rotate").returncode == 0
    (keys / BOX_FILE).write_bytes(backup)
    assert opened(engine, box_of(stored)) == before
    assert run(stored, "list").returncode == 0


def test_a_secret_that_cannot_be_opened_is_named_and_left_alone(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    fill_secrets(engine, box_of(stored), 3)
    damaged, foreign, whole = stored_secrets(engine)
    other = SecretBox(keys, {BOX_VARIABLE: OTHERS_KEYS[0]})
    with writing(engine) as connection:
        change = sa.text("UPDATE webhook_secrets SET secret = :secret WHERE id = :id")
        broken = damaged.secret[:-1] + bytes([damaged.secret[-1] ^ 1])
        elsewhere = other.close(box_of(stored).open(foreign.secret, foreign.place), foreign.place)
        connection.execute(change, {"id": damaged.id, "secret": broken})
        connection.execute(change, {"id": foreign.id, "secret": elsewhere})
    seen = set()
    for _ in range(2):
        done = run(stored, "rotate")
        assert done.returncode == 1
        for each in (damaged, foreign):
            assert f"{each.owner_id} of account default" in done.stderr
            assert f"whsec-{each.owner_id}" not in done.stderr
        assert whole.owner_id not in done.stderr
        assert [each.secret for each in stored_secrets(engine)[:2]] == [broken, elsewhere]
        seen.add(shown(done.stdout, "current key of webhooks"))
        assert under(engine)[shown(done.stdout, "current key of webhooks")] == 1
    assert len(seen) == 2, "they stop no further rotation"


def test_the_list_says_where_every_key_is_and_what_is_under_it(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    def listed() -> tuple[int, list[list[str]]]:
        done = run(stored, "list")
        lines = [line.split() for line in done.stdout.splitlines()[1:]]
        return done.returncode, [line[:-1] for line in lines if line[-1] == "webhooks"]

    fill_secrets(engine, box_of(stored), 2)
    (old,) = under(engine)
    assert listed() == (0, [[old, "current", "here", "2"]])
    _replace_key(keys)
    new = box_of(stored).read_again().newest
    both = [[new, "current", "here", "0"], [old, "older", "here", "2"]]
    assert listed() == (0, both)
    (former,) = formers(keys)
    former.chmod(0o644)
    assert listed() == (1, [both[0], [old, "older", "LOST", "2"]])
    assert f"chmod 600 {former}" in run(stored, "list").stderr
    former.chmod(0o600)
    run(stored, "rotate")
    former.unlink()
    assert listed() == (0, [[new, "current", "here", "2"]])
    (keys / BOX_FILE).unlink()
    assert listed() == (1, [[new, "older", "LOST", "2"]])


def test_a_lost_key_stops_a_rotation_before_it_moves_anything(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    fill(engine, vault, 1)
    fill_secrets(engine, box_of(stored), 1)
    held, of_agents = under(engine), counts(engine)
    (keys / BOX_FILE).unlink()
    refused = run(stored, "rotate")
    assert refused.returncode == 1
    assert f"{BOX_FILE} is missing" in refused.stderr
    assert (under(engine), counts(engine)) == (held, of_agents)
    assert len(key_files(keys)) == 1
    assert run(stored, "init", "--despite-loss").returncode == 0
    assert run(stored, "rotate").returncode == 1, "what is lost is named"
    assert under(engine) == held


def test_a_home_from_before_webhooks_rotates_as_it_did(
    engine: Engine, stored: Settings, keys: Path, vault: Vault
) -> None:
    fill(engine, vault, 1)
    (keys / BOX_FILE).unlink()
    done = run(stored, "rotate")
    assert done.returncode == 0, done.stderr
    assert not (keys / BOX_FILE).exists()


@pytest.mark.usefixtures("keys")
def test_secrets_that_have_expired_go(engine: Engine, stored: Settings) -> None:
    fill_secrets(engine, box_of(stored), 2)
    expired, valid = stored_secrets(engine)
    with writing(engine) as connection:
        change = sa.text("UPDATE webhook_secrets SET expires_at = 1, secret = :none WHERE id = :id")
        connection.execute(change, {"id": expired.id, "none": b"nothing that opens"})
    assert run(stored, "list").returncode == 0
    assert run(stored, "rotate").returncode == 0
    assert [each.id for each in stored_secrets(engine)] == [valid.id]


def test_keys_from_the_environment_move_to_the_one_in_front_and_none_is_made(
    engine: Engine, stored: Settings
) -> None:
    first, second, of_agents = OTHERS_KEYS[:3]
    fill_secrets(engine, box_of(stored, {BOX_VARIABLE: first}), 3)

    def rotate_under(given: str) -> "subprocess.CompletedProcess[str]":
        variables = {BOX_VARIABLE: given, KEYS_VARIABLE: of_agents}
        return run_here(environment_with(stored) | variables, "secrets", "rotate")

    done = rotate_under(f"{second},{first}")

    assert done.returncode == 0, done.stderr
    new = box_key_id(decode_key(second, ""))
    assert under(engine) == {new: 3}
    assert len(opened(engine, box_of(stored, {BOX_VARIABLE: second}))) == 3
    refused = rotate_under(second)
    assert "put a new one in front" in refused.stderr
    assert under(engine) == {new: 3}
    assert not list(stored.home_path.glob("keys/*"))


def test_a_file_that_was_kept_by_hand_is_used_up_like_any_other(
    engine: Engine, stored: Settings, keys: Path
) -> None:
    fill_secrets(engine, box_of(stored), 2)
    held = decode_key((keys / BOX_FILE).read_text(), "")
    write_key_file(keys / "webhooks-former.private", held)
    write_key_file(keys / BOX_FILE, b"n" * 32, replace=True)
    done = run(stored, "rotate")
    assert done.returncode == 0, done.stderr
    assert under(engine) == {box_key_id(b"n" * 32): 2}
