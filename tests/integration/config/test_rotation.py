"""`edgewise secrets`: keys made, lost, changed; a rotation that is killed half-way."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Engine, text

from tests.integration.config.keys import NOW, environment_with
from tests.integration.config.stored_secrets import counts, fill, opens, reader
from tests.servers.cli import run_here
from tests.servers.system import command
from workers.agent_config.vault import Vault
from workers.errors import KeysUnavailableError, StorageUnavailableError
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
from workers.storage.agents.llm_rows import entries_of, replace_entries
from workers.storage.database import open_engine, reading, writing
from workers.storage.secret_keys import current_key, known_keys, make_current

AGENTS = 800
OTHERS_KEYS = [encode_key(bytes([number]) * 32) for number in range(6)]


def run(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_here(environment_with(settings), "secrets", *words)


@pytest.mark.parametrize("batches", [1, 5], ids=["among the model keys", "among the headers"])
def test_a_rotation_that_is_killed_goes_on_and_leaves_nothing_on_the_old_key(
    engine: Engine, stored: Settings, vault: Vault, batches: int
) -> None:
    agents = fill(engine, vault, AGENTS)
    (old,) = counts(engine)
    process = subprocess.Popen(
        [command("edgewise"), "secrets", "rotate"],
        env=environment_with(stored),
        cwd=stored.home_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(batches):
        assert "moved" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stderr.close()
    half = counts(engine)
    assert sum(half.values()) == 2 * AGENTS
    assert all(opens(engine, reader(stored), agent_id) for agent_id in agents[::50])
    assert len(half) == 2, "it was killed too late to show anything"

    done = run(stored, "rotate")

    assert done.returncode == 0, done.stderr
    (new,) = half.keys() - {old}
    assert counts(engine) == {new: 2 * AGENTS}, "the second run went on and made no third key"
    key_files(keys_folder(stored.home_path))[0].unlink()
    assert all(opens(engine, reader(stored), agent_id) for agent_id in agents)


def test_a_key_that_was_made_but_not_used_yet_is_the_one_to_rotate_to(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 3)
    waiting = make_key(keys_folder(stored.home_path))
    assert rotate(engine, reader(stored), keys_folder(stored.home_path)).key_id == waiting.id
    assert counts(engine) == {waiting.id: 6}


def test_after_a_rotation_a_running_worker_writes_under_the_new_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 1)
    done = rotate(engine, reader(stored), keys_folder(stored.home_path))
    fill(engine, vault, 1)
    assert counts(engine) == {done.key_id: 4}


def waits_for_a_lock(engine: Engine) -> bool:
    """Tell whether a transaction waits for another; SQLite has no way to tell, and one writer."""
    if engine.dialect.name == "sqlite":
        return True
    with reading(engine) as connection:
        query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(connection.execute(query).scalar())


def until(is_so: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if is_so():
            return
        deadline.wait(0.02)
    pytest.fail("it did not come to that in 10 s")


def test_a_worker_that_waits_for_a_rotation_writes_under_the_new_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 1)
    new = make_key(keys_folder(stored.home_path))
    rotating = open_engine(stored)  # another process's
    with ThreadPoolExecutor(1) as pool:
        with writing(rotating) as connection:
            make_current(connection, new.id, NOW)
            filling = pool.submit(fill, engine, vault, 1)
            until(lambda: filling.running() and waits_for_a_lock(rotating))
        filling.result(10)
    with reading(engine) as connection:
        assert current_key(connection) == new.id
    assert counts(engine)[new.id] == 2
    rotating.dispose()


def test_a_rotation_among_busy_workers_leaves_nothing_on_the_old_key(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    folder, stop = keys_folder(stored.home_path), threading.Event()
    agents = fill(engine, vault, 50)

    def work() -> list[str]:
        its_vault, made = Vault(folder, {}), list[str]()
        while not stop.wait(0.02):
            with contextlib.suppress(StorageUnavailableError):  # SQLite is fair to nobody
                made += fill(engine, its_vault, 2)
        return made

    rotating = open_engine(stored)  # another process's
    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work) for _ in range(3)]
        try:
            keys = [rotate(rotating, reader(stored), folder).key_id for _ in range(3)]
        finally:
            stop.set()
        for done in working:
            agents += done.result(10)
    assert counts(engine) == {keys[-1]: 2 * len(agents)}
    assert all(opens(engine, reader(stored), agent_id) for agent_id in agents[::10])
    with reading(engine) as connection:
        assert current_key(connection) == keys[-1]
        assert len(known_keys(connection)) == 1 + len(keys)
    rotating.dispose()


def test_workers_that_are_the_first_at_once_agree_on_one_key(
    engine: Engine, stored: Settings
) -> None:
    vaults = [Vault(keys_folder(stored.home_path), {KEYS_VARIABLE: each}) for each in OTHERS_KEYS]
    start = threading.Barrier(len(vaults))

    def begin(vault: Vault) -> str | None:
        start.wait(10)
        try:
            with writing(engine) as connection:
                return vault.key_to_write_under(connection, NOW).id
        except KeysUnavailableError:
            return None

    with ThreadPoolExecutor(len(vaults)) as pool:
        found = list(pool.map(begin, vaults))
    with reading(engine) as connection:
        assert known_keys(connection) == [key_id for key_id in found if key_id is not None]


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
    assert sorted(counts(engine).values()) == [1, 5]
    with reading(engine) as connection:
        assert entries_of(connection, agents[0]) == [broken]
    keys = {run(stored, "rotate").stdout.split()[2] for _ in range(2)}
    assert len(keys) == 2, "it stops no further rotation"
    assert sorted(counts(engine).values()) == [1, 5]
    assert max(counts(engine), key=lambda key: counts(engine)[key]) in keys


def test_the_list_says_where_every_key_is_and_what_is_under_it(
    engine: Engine, stored: Settings, vault: Vault
) -> None:
    fill(engine, vault, 2)
    (old,) = counts(engine)
    listed = run(stored, "list")
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if line.startswith(old))
    assert line.split() == [old, "current", "here", "4", "agents"]
    key_files(keys_folder(stored.home_path))[0].unlink()
    lost = run(stored, "list")
    assert lost.returncode == 1
    line = next(line for line in lost.stdout.splitlines() if line.startswith(old))
    assert line.split() == [old, "current", "LOST", "4", "agents"]


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
    assert counts(engine) == {KeyEncryptionKey(b"n" * 32).id: 4}
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
