from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import encode_key, keys_folder, write_key_file
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE, SecretBox

KEY, OTHER = (encode_key(bytes([number]) * 32) for number in (1, 2))
PLACE = ("acme", "source_1", "secret_1")
SECRET = SecretStr("whsec_planted")


def box(keys: str = KEY) -> SecretBox:
    return SecretBox(Path("/nowhere"), {BOX_VARIABLE: keys})


@given(st.text(min_size=1, max_size=600))
def test_what_was_closed_opens_in_its_place_and_in_no_other(text: str) -> None:
    closed = box().close(SecretStr(text), PLACE)
    assert box().open(closed, PLACE).get_secret_value() == text
    for place in (("acm", "esource_1", "secret_1"), PLACE[:2], (*PLACE[:2], "secret_2")):
        with pytest.raises(CredentialsUnavailableError):
            box().open(closed, place)


def test_every_flipped_bit_and_every_missing_byte_is_noticed() -> None:
    closed = box().close(SECRET, PLACE)
    damaged = [
        closed[:at] + bytes([closed[at] ^ 1 << bit]) + closed[at + 1 :]
        for at in range(len(closed))
        for bit in range(8)
    ]
    for each in (*damaged, *(closed[:end] for end in range(len(closed)))):
        with pytest.raises(CredentialsUnavailableError):
            box().open(each, PLACE)


def test_a_new_key_goes_in_front_and_the_old_one_still_opens() -> None:
    closed = box(OTHER).close(SECRET, PLACE)
    both = box(f"{KEY},{OTHER}")
    assert both.open(closed, PLACE) == SECRET
    assert box(KEY).open(both.close(SECRET, PLACE), PLACE) == SECRET
    with pytest.raises(CredentialsUnavailableError, match="another key"):
        box(KEY).open(closed, PLACE)


def test_the_key_file_is_made_once_and_is_for_nobody_else(tmp_path: Path) -> None:
    folder = keys_folder(tmp_path)
    make_missing_keys(folder, {})
    closed = SecretBox(folder, {}).close(SECRET, PLACE)
    assert make_missing_keys(folder, {}) == []
    assert SecretBox(folder, {}).open(closed, PLACE) == SECRET
    assert (folder / BOX_FILE).stat().st_mode & 0o777 == 0o600
    (folder / BOX_FILE).chmod(0o644)
    with pytest.raises(KeysUnavailableError, match="chmod 600"):
        SecretBox(folder, {}).close(SECRET, PLACE)
    (folder / BOX_FILE).unlink()
    with pytest.raises(KeysUnavailableError, match="missing"):
        SecretBox(folder, {}).open(closed, PLACE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the key 1, current, and the key 2, a former one."""
    folder = keys_folder(tmp_path)
    make_missing_keys(folder, {})
    write_key_file(folder / BOX_FILE, bytes([1]) * 32, replace=True)
    write_key_file(folder / "webhooks-former.private", bytes([2]) * 32)
    return folder


def test_a_former_file_opens_what_is_under_it_and_closes_nothing(folder: Path) -> None:
    closed = box(OTHER).close(SECRET, PLACE)
    both = SecretBox(folder, {})
    assert both.open(closed, PLACE) == SECRET
    assert box(KEY).open(both.close(SECRET, PLACE), PLACE) == SECRET
    (folder / "webhooks-former.private").unlink()
    with pytest.raises(CredentialsUnavailableError, match="another key"):
        SecretBox(folder, {}).open(closed, PLACE)


def test_a_box_that_is_open_finds_a_key_that_took_the_place_of_its_own(folder: Path) -> None:
    running = SecretBox(folder, {})
    before = running.close(SECRET, PLACE)
    write_key_file(folder / "webhooks-1.private", bytes([1]) * 32)
    write_key_file(folder / BOX_FILE, bytes([3]) * 32, replace=True)
    newer = SecretBox(folder, {}).close(SECRET, PLACE)
    assert newer[:9] != before[:9]
    assert running.open(newer, PLACE) == running.open(before, PLACE) == SECRET
    assert running.close(SECRET, PLACE)[:9] == newer[:9]


@pytest.mark.parametrize("trouble", ["damaged", "open to others"])
def test_a_former_file_that_is_of_no_use_stops_nothing_else(folder: Path, trouble: str) -> None:
    former = folder / "webhooks-former.private"
    if trouble == "damaged":
        former.write_bytes(b"x" * 44)
    else:
        former.chmod(0o644)
    here = SecretBox(folder, {})
    assert here.open(here.close(SECRET, PLACE), PLACE) == SECRET
    with pytest.raises(CredentialsUnavailableError, match="another key"):
        here.open(box(OTHER).close(SECRET, PLACE), PLACE)
    (problem,) = here.read_again().unusable
    assert str(former) in problem


def test_the_current_key_is_not_replaced_by_a_former_one(folder: Path) -> None:
    (folder / BOX_FILE).write_bytes(b"x" * 44)
    with pytest.raises(KeysUnavailableError, match="does not hold a key"):
        SecretBox(folder, {}).close(SECRET, PLACE)
    (folder / BOX_FILE).unlink()
    with pytest.raises(KeysUnavailableError, match="missing"):
        SecretBox(folder, {}).close(SECRET, PLACE)


def test_no_key_is_shown_by_its_repr(folder: Path) -> None:
    shown = repr(SecretBox(folder, {}).read_again())
    assert "AESGCM" not in shown
    assert KEY not in shown
