"""`edgewise secrets`: keys made, lost, changed; a rotation that is killed half-way."""

import signal
import subprocess
from functools import partial

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from schemas.ids import new_id
from tests.integration.config.keys import NOW, URL, environment_with, new_vault
from tests.servers.system import command
from workers.agent_config.vault import Vault
from workers.errors import KeysUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt, encrypt, key_id_of
from workers.secrets.key_files import encode_key, keys_folder
from workers.secrets.key_ring import (
    KEYS_VARIABLE,
    KeyEncryptionKey,
    KeyRingReader,
    key_files,
    make_key,
    read_key_ring,
)
from workers.secrets.rotation import rotate
from workers.secrets.sealing import read_public_key, sealing_key_id
from workers.secrets.unsealing import read_private_key
from workers.settings import Settings
from workers.storage.agents.llm_rows import (
    StoredEntry,
    count_by_key,
    entries_of,
    replace_entries,
)
from workers.storage.database import reading, writing
from workers.storage.secret_keys import current_key

ENTRIES = 1_500


@pytest.fixture
def vault(stored: Settings) -> Vault:
    return new_vault(stored)


def fill(engine: Engine, vault: Vault, count: int) -> list[str]:
    """Store entries under the current key, each with a key that its agent's id follows from."""
    made = [new_id("agent") for _ in range(count)]
    with writing(engine) as connection:
        key = vault.key_to_write_under(connection, NOW)
        for agent_id in made:
            binding = Binding("default", agent_id, 0, URL)
            envelope = encrypt(key, secret(agent_id), binding)
            entry = StoredEntry(
                agent_id=agent_id,
                entry=0,
                account="default",
                base_url=URL,
                model="m",
                key_id=key.id,
                api_key=envelope,
            )
            replace_entries(connection, [agent_id], [entry])
    return made


def secret(agent_id: str) -> SecretStr:
    return SecretStr(f"sk-{agent_id}")


def reader(settings: Settings) -> KeyRingReader:
    return KeyRingReader(partial(read_key_ring, keys_folder(settings.home_path), {}))


def counts(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        return count_by_key(connection)


def opens(engine: Engine, keys: KeyRingReader, agent_id: str) -> bool:
    with reading(engine) as connection:
        (entry,) = entries_of(connection, agent_id)
    assert key_id_of(entry.api_key) == entry.key_id
    binding = Binding(entry.account, agent_id, 0, entry.base_url)
    found = decrypt(keys.find, entry.api_key, binding)
    return found.get_secret_value() == f"sk-{agent_id}"


def run(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [command("edgewise"), "secrets", *words],
        env=environment_with(settings),
        cwd=settings.home_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_rotation_that_is_killed_goes_on_and_leaves_nothing_on_the_old_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    agents = fill(engine, vault, ENTRIES)
    (old,) = counts(engine)
    process = subprocess.Popen(
        [command("edgewise"), "secrets", "rotate"],
        env=environment_with(stored),
        cwd=stored.home_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "moved" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stderr.close()
    half = counts(engine)
    assert sum(half.values()) == ENTRIES
    assert all(opens(engine, reader(stored), agent_id) for agent_id in agents[::50])
    assert len(half) == 2, "it was killed too late to show anything"

    done = run(stored, "rotate")

    assert done.returncode == 0, done.stderr
    (new,) = half.keys() - {old}
    assert counts(engine) == {new: ENTRIES}, "the second run went on and made no third key"
    key_files(keys_folder(stored.home_path))[0].unlink()
    assert all(opens(engine, reader(stored), agent_id) for agent_id in agents)


def test_a_key_that_was_made_but_not_used_yet_is_the_one_to_rotate_to(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 3)
    waiting = make_key(keys_folder(stored.home_path))
    assert rotate(engine, reader(stored), keys_folder(stored.home_path)).key_id == waiting.id
    assert counts(engine) == {waiting.id: 3}


def test_after_a_rotation_a_running_worker_writes_under_the_new_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 1)
    done = rotate(engine, reader(stored), keys_folder(stored.home_path))
    fill(engine, vault, 1)
    assert counts(engine) == {done.key_id: 2}


def test_a_value_that_cannot_be_opened_is_named_and_left_alone(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    agents = fill(engine, vault, 3)
    with writing(engine) as connection:
        (entry,) = entries_of(connection, agents[0])
        broken = entry.model_copy(update={"base_url": "https://evil.example.com"})
        replace_entries(connection, [agents[0]], [broken])
    done = run(stored, "rotate")
    assert done.returncode == 1
    assert agents[0] in done.stderr
    assert sorted(counts(engine).values()) == [1, 2]
    with reading(engine) as connection:
        assert entries_of(connection, agents[0]) == [broken]


def test_the_list_says_where_every_key_is_and_what_is_under_it(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 2)
    (old,) = counts(engine)
    listed = run(stored, "list")
    assert listed.returncode == 0, listed.stderr
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        [old, "current", "here", "2"]
    ]
    key_files(keys_folder(stored.home_path))[0].unlink()
    lost = run(stored, "list")
    assert lost.returncode == 1
    assert lost.stdout.split()[-4:] == [old, "current", "LOST", "2"]


def test_a_lost_key_stops_init_and_rotate_until_the_operator_lets_it_go(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    agents = fill(engine, vault, 1)
    (old,) = counts(engine)
    key_files(keys_folder(stored.home_path))[0].unlink()
    for words in (["init"], ["rotate"]):
        refused = run(stored, *words)
        assert refused.returncode == 1
        assert "restore" in refused.stderr
        assert "Traceback" not in refused.stderr
    with reading(engine) as connection:
        assert current_key(connection) == old
    fresh = Vault(keys_folder(stored.home_path), {})
    with pytest.raises(KeysUnavailableError, match="restore"), writing(engine) as connection:
        fresh.key_to_write_under(connection, NOW)

    went_on = run(stored, "init", "--despite-loss")

    assert went_on.returncode == 0, went_on.stderr
    fill(engine, fresh, 1)
    assert len(counts(engine)) == 2
    with reading(engine) as connection:
        assert len(entries_of(connection, agents[0])) == 1, "nothing is deleted"


def test_keys_from_the_environment_rotate_to_the_one_in_front(
    engine: Engine, stored: Settings
) -> None:
    old, new = encode_key(b"o" * 32), encode_key(b"n" * 32)
    folder = keys_folder(stored.home_path)
    fill(engine, Vault(folder, {KEYS_VARIABLE: old}), 2)
    alone = KeyRingReader(partial(read_key_ring, folder, {KEYS_VARIABLE: old}))
    with pytest.raises(KeysUnavailableError, match="in front"):
        rotate(engine, alone, None)
    both = KeyRingReader(partial(read_key_ring, folder, {KEYS_VARIABLE: f"{new},{old}"}))
    rotate(engine, both, None)
    assert counts(engine) == {KeyEncryptionKey(b"n" * 32).id: 2}
    assert not folder.exists()


def test_keys_can_be_printed_as_variables_that_belong_together(stored: Settings) -> None:
    stored.home_path.mkdir(exist_ok=True)
    lines = run(stored, "env").stdout.splitlines()
    given = dict(line.split("=", 1) for line in lines)
    folder = keys_folder(stored.home_path)
    private = read_private_key(folder, given)
    assert sealing_key_id(read_public_key(folder, given)) == sealing_key_id(private.public_key())
    assert len(read_key_ring(folder, given).keys) == 1
    assert run(stored, "env").stdout.splitlines() != lines
