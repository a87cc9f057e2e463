import os
import stat
from pathlib import Path

import pytest

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import encode_key, read_key_file
from workers.secrets.key_ring import (
    KEYS_VARIABLE,
    KeyEncryptionKey,
    KeyRingReader,
    key_files,
    make_key,
    read_key_ring,
)
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.sealing import PUBLIC_FILE, PUBLIC_VARIABLE, read_public_key, sealing_key_id
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE
from workers.secrets.unsealing import PRIVATE_FILE, PRIVATE_VARIABLE, read_private_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_new_home_gets_its_keys_once_and_for_its_owner_only(folder: Path) -> None:
    folder = folder.parent / "home" / "keys"
    assert len(make_missing_keys(folder, {})) == 3
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert len(before) == 4
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert make_missing_keys(folder, {}) == []
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_draft_that_a_kill_left_is_no_key(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / ".x.key.abcd.new").touch()
    assert len(make_missing_keys(folder, {})) == 3
    assert len(read_key_ring(folder, {}).keys) == 1


def test_both_halves_of_the_sealing_pair_belong_together(folder: Path) -> None:
    make_missing_keys(folder, {})
    private = read_private_key(folder, {})
    assert sealing_key_id(read_public_key(folder, {})) == sealing_key_id(private.public_key())


def test_a_lost_key_is_not_replaced_but_a_lost_sealing_pair_is(folder: Path) -> None:
    make_missing_keys(folder, {})
    key_files(folder)[0].unlink()
    (folder / BOX_FILE).unlink()
    (folder / PRIVATE_FILE).unlink()
    assert make_missing_keys(folder, {}) == ["sealing key pair"]
    private = read_private_key(folder, {})
    assert sealing_key_id(read_public_key(folder, {})) == sealing_key_id(private.public_key())
    with pytest.raises(KeysUnavailableError, match="restore"):
        read_key_ring(folder, {})
    assert make_missing_keys(folder, {}) == []
    assert make_missing_keys(folder, {}, despite_loss=True) == ["key for webhook secrets"]


@pytest.mark.parametrize("left", [1, 2, 3], ids=["one file", "two files", "three files"])
def test_a_first_start_that_was_broken_off_is_gone_on_with(folder: Path, left: int) -> None:
    make_missing_keys(folder, {})
    in_order = [key_files(folder)[0], *(folder / each for each in (BOX_FILE, PRIVATE_FILE))]
    for file in {*folder.iterdir()} - {*in_order[:left]}:
        file.unlink()
    make_missing_keys(folder, {})
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(
    folder: Path, mode: int
) -> None:
    make_missing_keys(folder, {})
    file = key_files(folder)[0]
    file.chmod(mode)
    with pytest.raises(KeysUnavailableError, match=f"chmod 600 {file}"):
        read_key_ring(folder, {})
    (folder / PUBLIC_FILE).chmod(mode)
    with pytest.raises(KeysUnavailableError, match="chmod 600"):
        read_public_key(folder, {})


def test_the_keys_of_another_user_are_refused_to_all_but_root(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_missing_keys(folder, {})
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(KeysUnavailableError, match="belongs to another user"):
        read_key_ring(folder, {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert len(read_key_ring(folder, {}).keys) == 1


def test_a_key_that_root_makes_belongs_to_whom_the_folder_belongs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_missing_keys(folder, {})
    given = list[tuple[int, int]]()
    monkeypatch.setattr(os, "fchown", lambda _file, user, group: given.append((user, group)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    make_key(folder)
    assert given == [(folder.stat().st_uid, -1)]
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid or 1)
    make_key(folder)
    assert len(given) == 1


def test_an_open_folder_is_refused_with_the_command_that_mends_it(folder: Path) -> None:
    make_missing_keys(folder, {})
    folder.chmod(0o755)
    with pytest.raises(KeysUnavailableError, match=f"chmod 700 {folder}"):
        read_key_ring(folder, {})


@pytest.mark.parametrize("text", ["", "x", "AAAA", "AAAA" * 11, "ünï", "\xff" * 44])
def test_a_file_that_holds_no_key_is_refused_and_not_quoted(folder: Path, text: str) -> None:
    make_missing_keys(folder, {})
    file = folder / PRIVATE_FILE
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeysUnavailableError) as caught:
        read_key_file(file)
    assert not text or text not in str(caught.value).replace(str(file), "")


def test_a_file_with_another_key_than_its_name_says_is_refused(folder: Path) -> None:
    make_missing_keys(folder, {})
    file = key_files(folder)[0]
    file.write_text(encode_key(os.urandom(32)))
    with pytest.raises(KeysUnavailableError, match="another key"):
        read_key_ring(folder, {})


def test_the_environment_comes_before_the_files(folder: Path) -> None:
    make_missing_keys(folder, {})
    newer, older = os.urandom(32), os.urandom(32)
    ring = read_key_ring(folder, {KEYS_VARIABLE: f"{encode_key(newer)}, {encode_key(older)}"})
    assert list(ring.keys) == [KeyEncryptionKey(older).id, KeyEncryptionKey(newer).id]
    assert ring.newest.material == newer
    private = read_private_key(folder, {PRIVATE_VARIABLE: encode_key(older)})
    public = encode_key(private.public_key().public_bytes_raw())
    assert sealing_key_id(read_public_key(folder, {PUBLIC_VARIABLE: public})) == sealing_key_id(
        private.public_key()
    )


def test_nothing_is_made_that_the_environment_gives(folder: Path) -> None:
    given = {KEYS_VARIABLE: "x", PUBLIC_VARIABLE: "y", BOX_VARIABLE: "z"}
    assert make_missing_keys(folder, given) == []
    assert list(folder.iterdir()) == []


def test_a_key_that_is_made_later_is_found_without_a_restart(folder: Path) -> None:
    make_missing_keys(folder, {})
    reader = KeyRingReader(lambda: read_key_ring(folder, {}))
    first = reader.ring().newest
    second = make_key(folder)
    assert reader.find(second.id) == second
    assert reader.ring().newest == second
    assert reader.find(first.id) == first
    with pytest.raises(CredentialsUnavailableError):
        reader.find("0" * 16)
